"""IPython in a terminal: a cell magic waits for its body; what has none is an ordinary error."""

from __future__ import annotations

from IPython.core.interactiveshell import InteractiveShell

from aci_notebook.magics import bodyless


def test_a_terminal_waits_for_the_body_of_a_cell(the_shell: InteractiveShell) -> None:
    manager = the_shell.input_transformer_manager
    assert manager.check_complete("%%aci --cpu 2")[0] == "incomplete"
    assert manager.check_complete("%%aci --help")[0] == "complete"


def test_a_cell_without_a_body_reaches_the_magic(the_shell: InteractiveShell) -> None:
    assert bodyless(["%%aci --cpu 2\n"]) == ["%aci --cpu 2\n"]
    assert bodyless(["%%aci --cpu 2\n", "print(1)\n"]) == ["%%aci --cpu 2\n", "print(1)\n"]
    assert bodyless(["x = 1\n"]) == ["x = 1\n"]
    result = the_shell.run_cell("%%aci --cpu 2")
    assert type(result.error_in_exec).__name__ == "OptionError"
