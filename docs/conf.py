"""Configuration of the documentation; nothing is loaded from the network."""

import gc
import pathlib
import re
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "tools"))

import write_reference
from sphinx.domains.python import PythonDomain

gc.set_threshold(100_000, 50, 100)  # pages are large trees: collecting less often is quicker

project = "Echoscape"
author = "The Echoscape developers"
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
html_theme = "furo"
html_title = project
exclude_patterns = ["_build", "tutorials/download"]
nb_execution_mode = "off"  # tools/run_tutorials.py ran them, all in one process
myst_heading_anchors = 3
default_role = "code"
autodoc_member_order = "bysource"
autodoc_default_options = {"exclude-members": "model_config, model_post_init"}
autodoc_typehints_format = "short"
add_module_names = False
python_maximum_signature_line_length = 88
napoleon_numpy_docstring = False
toc_object_entries_show_parents = "hide"


suppress_warnings = ["ref.python"]  # words such as `first` that are fields of several classes


def _plural(app, what, name, obj, options, lines):
    """Let a plural follow a name in backticks, as in `Fix`es."""
    lines[:] = [re.sub(r"(?<=\w)`(?=[a-z])", "`\\\\ ", line) for line in lines]


class CachedPythonDomain(PythonDomain):
    """The domain of Python, which looks for a name once, not at every use."""

    def find_obj(self, env, modname, classname, name, type, searchmode=0):
        """Find an object by its name; what was found is kept while no object is added."""
        found = self.__dict__.setdefault("_found", {})
        question = (len(self.objects), modname, classname, name, type, searchmode)
        if question not in found:
            found[question] = super().find_obj(env, modname, classname, name, type, searchmode)
        return found[question]


def setup(app):
    """Write the pages of the reference and of the tutorials before they are read."""
    write_reference.main()
    runner = pathlib.Path(write_reference.__file__).with_name("run_tutorials.py")
    subprocess.run([sys.executable, runner], check=True)
    app.add_domain(CachedPythonDomain, override=True)
    app.connect("autodoc-process-docstring", _plural)
