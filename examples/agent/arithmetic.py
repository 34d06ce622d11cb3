"""Evaluates arithmetic without eval()."""

import ast
from collections.abc import Callable
from decimal import Decimal, localcontext

BINARY: dict[type[ast.operator], Callable[[Decimal, Decimal], Decimal]] = {
    ast.Add: Decimal.__add__,
    ast.Sub: Decimal.__sub__,
    ast.Mult: Decimal.__mul__,
    ast.Div: Decimal.__truediv__,
    ast.Pow: Decimal.__pow__,
}
LONGEST = 200


def evaluate(expression: str) -> Decimal:
    """The value of an expression of numbers, parentheses and + - * / **.

    Decimals of 28 digits, not ints and floats: 0.1 + 0.2 is 0.3, and 9**9**9 cannot eat the memory.

    Raises:
        ValueError: it is not such an expression.
        ArithmeticError: it has no value, or one that is too large.
    """
    if len(expression) > LONGEST:
        raise ValueError(f"An expression has at most {LONGEST} characters.")
    try:
        tree = ast.parse(expression.strip(), mode="eval")
    except SyntaxError:
        raise ValueError(f"{expression!r} is not an arithmetic expression.") from None
    with localcontext(prec=28):
        return _value(tree.body)


def _value(node: ast.expr) -> Decimal:
    match node:
        case ast.Constant(value=int() | float() as number) if not isinstance(number, bool):
            return Decimal(str(number))
        case ast.UnaryOp(op=ast.USub()):
            return -_value(node.operand)
        case ast.BinOp(op=operation) if type(operation) in BINARY:
            return BINARY[type(operation)](_value(node.left), _value(node.right))
        case _:
            raise ValueError(f"{ast.unparse(node)!r} is not arithmetic: use numbers and + - * / ** ( ).")


def show(value: Decimal) -> str:
    """A value as people write it: 1,250.5; and 1E+40 rather than forty zeros."""
    value = value.normalize()
    return f"{value:,f}" if abs(value.adjusted()) < 28 else str(value)
