"""Settings of Sphinx: the pages are Markdown, the reference comes from the docstrings."""

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.transforms import SphinxTransform

import jaxgmm

project = "jaxgmm"
copyright = "The jaxgmm developers"
release = version = jaxgmm.__version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx-mathjax-offline",
    "matplotlib.sphinxext.plot_directive",
]
myst_enable_extensions = ["dollarmath", "colon_fence"]
myst_heading_anchors = 3
nb_execution_mode = "off"  # the tests execute them
plot_formats = [("png", 110)]  # drawn as the pages are built, so that no picture is out of date
plot_include_source = True
plot_html_show_formats = plot_html_show_source_link = False

autodoc_member_order = "bysource"
autodoc_typehints = "none"  # the docstrings give shapes and units, which the types do not
autodoc_preserve_defaults = True
python_maximum_signature_line_length = 88
napoleon_custom_sections = [("Reference", "References")]
napoleon_numpy_docstring = False
napoleon_attr_annotations = False
napoleon_use_ivar = True
napoleon_use_rtype = False
nitpicky = True
nitpick_ignore_regex = [("py:(class|exc)", r"(collections|jax|numpy|sklearn)\..*")]  # what is documented elsewhere

LINKED_MODULES = ("acceleration", "classification", "datasets", "interop", "plotting", "seeding")

html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["wide.css"]  # lines of code have up to 120 characters
html_title = f"jaxgmm {release}"


def setup(app):
    """Add what is below to Sphinx."""
    app.connect("autodoc-process-docstring", _without_type, priority=400)
    app.add_transform(LinkedNames)


class LinkedNames(SphinxTransform):
    """Public names become links: with ``jaxgmm.`` in front on pages, and as they are in the tables of the reference."""

    default_priority = 500

    def apply(self, **_):
        """Wrap each such name into a reference."""
        modules = {"": jaxgmm, **{f"{name}.": getattr(jaxgmm, name) for name in LINKED_MODULES}}
        public = {f"jaxgmm.{prefix}{name}" for prefix, module in modules.items() for name in module.__all__}
        prefix = "jaxgmm." if self.env.docname == "api/index" else ""
        for literal in list(self.document.findall(nodes.literal)):
            target = prefix + literal.astext().partition("(")[0]
            if target in public and isinstance(literal.parent, nodes.paragraph):
                link = pending_xref("", refdomain="py", reftype="obj", reftarget=target, refexplicit=True)
                literal.replace_self(link)
                link += literal


def _without_type(app, what, name, obj, options, lines):
    """Show what stands beside a field as it is; napoleon would take the words before a colon for a type."""
    if what in ("attribute", "property") and lines:
        lines[0] = f": {lines[0]}"
