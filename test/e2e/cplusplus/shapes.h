#pragma once
#include <cstdio>
#include <stdexcept>
#include <string>

struct Shape {
  virtual ~Shape() = default;
  virtual int area() const = 0;
};

struct Square : Shape {
  int side;
  explicit Square(int side) : side(side) {}
  int area() const override;
};

struct Disc : Shape {
  int area() const override { return 3; }
};

struct Bad : std::runtime_error {
  int number;
  explicit Bad(int number) : std::runtime_error("bad"), number(number) {}
};

/* Counts what is destroyed on an exception's way. */
struct Witness {
  static int destroyed;
  ~Witness() { destroyed++; }
};

/* One of many copies: every object that uses it has it. */
inline int common() {
  static int calls = 0;
  return ++calls;
}

template <typename T> T twice(T value) { return value + value; }

/* The part that is patched. */
std::string described(int number);
std::string described(const std::string &text);
int told_apart(const Shape &shape);
int through_callee(int number);
void thrower(int number);
/* The base's. */
void base_thrower(int number);
Shape *made_by_patch(int side);
