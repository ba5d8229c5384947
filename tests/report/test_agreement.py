import pytest

from eloquent.errors import ConfigurationError
from eloquent.report.agreement import HEADINGS, read_agreement

HEADER = "scheme,model,sessions,measure,lab,simulator,difference,low,high\n"


def test_a_run_without_one_has_none(tmp_path):
    assert read_agreement(tmp_path / "agreement.csv") == []


def test_figures_are_written_as_people_read_them(tmp_path):
    path = tmp_path / "agreement.csv"
    path.write_text(HEADER + "eloquent,eloquent,8,stall_ratio_210,0.18,0.16,0.125,-0.02,0.27\nx,,8,gap_p95_s,0.2,,,,\n")
    heading, first, second = (
        tuple(cell.replace("\N{NO-BREAK SPACE}", " ") for cell in row) for row in read_agreement(path)
    )
    assert heading == tuple(HEADINGS)
    ends = "\N{MINUS SIGN}2.0 % … +27.0 %"
    assert first == ("Eloquent", "eloquent", "stall ratio at 210 ms", "18.0 %", "16.0 %", "+12.5 %", ends)
    assert second == ("x", "", "gap, p95", "200 ms", "-", "-", "-")


@pytest.mark.parametrize(
    "text", ["", "a,b\n", HEADER + "eloquent,m,8,stall_ratio,much,0.1,0,,\n", HEADER + "eloquent\n"]
)
def test_another_table_is_refused(tmp_path, text):
    path = tmp_path / "agreement.csv"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=r"agreement\.csv"):
        read_agreement(path)
