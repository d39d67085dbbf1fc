/* What is patched: overloads, a template's instance, a virtual function, one that throws, one that is passed, casts across the boundary. */
#include "shapes.h"

#include <typeinfo>

int Square::area() const { return side * side; }

std::string described(int number) { return "old number " + std::to_string(twice(number)); }

std::string described(const std::string &text) { return "old text " + twice(text); }

int told_apart(const Shape &shape)
{
    if (typeid(shape) == typeid(Disc)) return 1;
    const Square *square = dynamic_cast<const Square *>(&shape);
    return square ? 2 + square->side : -1;
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
        if (bad.number == 7) return 7;
        throw;
    }
    return common();
}

void thrower(int number)
{
    Witness witness;
    throw Bad(number);
}

Shape *made_by_patch(int side)
{
    return new Square(side);
}
