"""The set-up of every notebook: checked parameters, recorded versions, sharp figures, brief errors, and a summary."""

from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeVar

from lad.config.notebook import notebook_values
from lad.report.notebook_errors import show_errors_briefly
from lad.report.provenance import record_versions
from lad.utils.messages import format_value

T = TypeVar("T")


def setup_notebook(
    namespace: Mapping[str, Any], make: Callable[[dict[str, Any]], T], switches: Collection[str] = ()
) -> T:
    """Build a notebook's configuration from its parameters cells and prepare its output.

    Call it in the first cell after the parameters. Package versions are recorded for the HTML report, inline figures
    are switched to retina resolution, errors of this package are shown in one line, and the configuration is printed.

    Args:
        namespace: The notebook's variables, `globals()`.
        make: Builds the configuration from the parameters by name, such as `lad.config.experiment.make_parameters`.
        switches: Names of True-or-False parameters that the notebook itself uses; `make` does not receive them.

    Returns:
        The configuration that `make` built.

    Raises:
        ValueError: If `make` rejects a parameter, or a switch is not a boolean; then nothing is recorded or printed.
    """
    show_errors_briefly()
    values = notebook_values(namespace)
    for name in switches:
        switch = values.pop(name, None)
        if not isinstance(switch, bool):
            raise ValueError(f"parameter '{name}' = {format_value(switch)} must be True or False")
    result = make(values)
    record_versions()
    _use_retina_figures()
    print(result.summary() if hasattr(result, "summary") else result)
    return result


def _use_retina_figures() -> None:
    """Show figures inline in retina resolution; do nothing outside IPython."""
    from IPython.core.getipython import get_ipython

    shell = get_ipython()
    if shell is None:
        return
    from matplotlib_inline.backend_inline import set_matplotlib_formats

    shell.run_line_magic("matplotlib", "inline")
    set_matplotlib_formats("retina")
