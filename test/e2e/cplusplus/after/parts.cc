/* What is patched: overloads, a template's instance, a virtual function, one that throws, one that is passed, casts across the boundary. */
#include "shapes.h"

#include <typeinfo>

int Square::area() const { return side * side + 1000; }

std::string described(int number) { return "new number " + std::to_string(twice(number)); }

std::string described(const std::string &text) { return "new text " + twice(text); }

int told_apart(const Shape &shape)
{
    if (typeid(shape) == typeid(Disc)) return 1 + 1000;
    const Square *square = dynamic_cast<const Square *>(&shape);
    return square ? 2 + square->side + 1000 : -1;
}

int through_callee(int number)
{
    Witness witness;
    try {
        Witness inner;
        base_thrower(number);
    } catch (const std::logic_error &) {
        return -1;
    } catch (const Bad &bad) {
        if (bad.number == 7) return 7 + 1000;
        throw;
    }
    return common() + 1000;
}

void thrower(int number)
{
    Witness witness;
    throw Bad(number + 1000);
}

Shape *made_by_patch(int side)
{
    return new Square(side + 1000);
}
