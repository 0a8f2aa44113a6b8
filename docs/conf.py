"""Sphinx's settings of the site. `make docs` builds it (`docs/generator`)."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

project = "Mollifield"
author = copyright = "The Mollifield developers"
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx_copybutton", "generator.lammps_lexer", "generator.mathml"]
exclude_patterns = ["tutorials/download"]

# A name that leads nowhere ends the build; those of other projects cannot be looked up without a network.
nitpicky = True
nitpick_ignore_regex = [(r"py:.*", r"(?!mollifield).*"), (r"py:.*", r"mollifield\.properties\.finding\.Finding")]

myst_enable_extensions = ["dollarmath", "colon_fence"]
myst_heading_anchors = 3
myst_update_mathjax = False
html_math_renderer = "mathml"

nb_execution_mode = "cache"
nb_execution_timeout = 600
nb_execution_in_temp = True
nb_execution_raise_on_error = True
nb_merge_streams = True
nb_output_stderr = "remove"  # progress bars

default_role = "code"  # as the docstrings have it
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"

html_theme = "furo"
html_title = "Mollifield"
html_static_path = ["_static"]
html_css_files = ["tables.css"]
html_theme_options = {"navigation_with_keys": True}
html_show_sphinx = False
html_copy_source = False
copybutton_exclude = ".linenos, .gp, .go"
pygments_style = "default"
