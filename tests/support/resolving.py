"""A resolver whose answers a test gives."""

from collections.abc import Sequence


class Rebinding:
    """Answers the first question with the first list, and so on; the last one stays. `asked` counts them."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, int]] = []

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked.append((host, port))
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
