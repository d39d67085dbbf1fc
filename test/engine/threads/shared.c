/* An object of its own, which no fix changes: others know its variable by its name. */
__thread unsigned long counter_shared;
