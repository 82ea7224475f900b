"""A gentle introduction to automatic differentiation: PyTorch's tutorial with the import changed.

    POLYGRAD_BACKEND=numpy python examples/tutorial.py        # or jax, torch, array_api_strict, cupy

Every backend prints the same.
"""

import polygrad as torch
from polygrad import nn, optim
from polygrad.autograd import Variable
from polygrad.models import resnet18


def training_step() -> None:
    """Forward, backward and one step of SGD on a resnet18."""
    torch.manual_seed(0)
    model = resnet18()
    data = torch.rand(1, 3, 64, 64)
    labels = torch.rand(1, 1000)

    prediction = model(data)  # forward
    loss = (prediction - labels).sum()
    loss.backward()  # backward
    optimizer = optim.SGD(model.parameters(), lr=1e-2, momentum=0.9)
    before = model.fc.bias.detach()
    optimizer.step()  # gradient descent

    print("prediction", tuple(prediction.shape), "from", sum(p.numel() for p in model.parameters()), "parameters")
    print("every parameter has a gradient:", all(p.grad is not None for p in model.parameters()))
    print("one step moved the last bias by", round(float((before - model.fc.bias.detach()).mean()), 6))


def gradients_of_vectors() -> None:
    """The derivative of Q = 3 a^3 - b^2, with a given cotangent and of the sum."""
    a = torch.tensor([2.0, 3.0], requires_grad=True)
    b = torch.tensor([6.0, 4.0], requires_grad=True)
    Q = 3 * a**3 - b**2
    print(Q)

    external_grad = torch.tensor([1.0, 1.0])
    Q.backward(gradient=external_grad)
    print(9 * a**2 == a.grad)
    print(-2 * b == b.grad)

    a.grad, b.grad = None, None
    Q = 3 * a**3 - b**2
    Q.sum().backward()
    print(a.grad, b.grad)


def who_is_recorded() -> None:
    """A result requires grad as soon as one operand does."""
    x = torch.rand(5, 5)
    y = torch.rand(5, 5)
    z = torch.rand((5, 5), requires_grad=True)
    a = x + y
    print(f"Does `a` require gradients?: {a.requires_grad}")
    b = x + z
    print(f"Does `b` require gradients?: {b.requires_grad}")
    with torch.no_grad():
        print(f"Does `b` require gradients without recording?: {(x + z).requires_grad}")


def finetuning() -> None:
    """Freeze a network, replace its last layer, train only that."""
    torch.manual_seed(1)
    model = resnet18()
    for param in model.parameters():
        param.requires_grad = False
    model.fc = nn.Linear(512, 10)
    optimizer = optim.SGD(model.parameters(), lr=1e-2, momentum=0.9)

    loss = nn.CrossEntropyLoss()(model(torch.rand(2, 3, 64, 64)), torch.tensor([1, 2]))
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    trained = [name for name, param in model.named_parameters() if param.requires_grad]
    print("trained:", ", ".join(trained))


def scalars() -> None:
    """Sums, differences, products and quotients of scalars, and where they came from."""
    a = Variable(torch.tensor(2.0), requires_grad=True)
    b = Variable(torch.tensor(6.0), requires_grad=True)
    print(a + b, a - b, a * b, b / a, sep="\n")

    Q = 3 * a**3 - b**2
    Q.backward()
    print(a.grad.data)
    print(b.grad.data)


if __name__ == "__main__":
    training_step()
    gradients_of_vectors()
    who_is_recorded()
    finetuning()
    scalars()
