from eloquent.protocol.repetition import Repetition


def test_intervals_double_up_to_the_longest() -> None:
    repetition = Repetition(1.0, 0.5, 1.5)
    instants = []
    for _ in range(4):
        instants.append(repetition.due)
        repetition.repeat(repetition.due)
    assert instants == [1.0, 1.5, 2.5, 4.0]
