"""How Sphinx makes the site of these pages: ``make docs``."""

import os
import sys
from importlib import import_module
from inspect import cleandoc

from sphinx.util.docutils import SphinxDirective

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

project = "smtpforward"
author = "The smtpforward developers"
extensions = ["myst_parser", "sphinx.ext.autodoc"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = "smtpforward"
# The headings that other pages point to.
myst_heading_anchors = 3
# The sites of editors and of the repository show the same pages: examples are not lexed for them.
highlight_language = "none"
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_preserve_defaults = True


class Interface(SphinxDirective):
    """``.. interface:: NAME``: one of zope's, which autodoc does not know."""

    required_arguments = 1

    def run(self):
        """Its text, and each method with its own."""
        module, _, name = self.arguments[0].rpartition(".")
        interface = getattr(import_module(module), name)
        lines = [f".. py:class:: {self.arguments[0]}", "", *_indented(interface)]
        for method, told in interface.namesAndDescriptions():
            signature = getattr(told, "getSignatureString", str)()
            lines += [f"   .. py:method:: {method}{signature}", ""]
            lines += [f"   {line}" for line in _indented(told)]
        return self.parse_text_to_nodes("\n".join(lines))


def _indented(told):
    return [*(f"   {line}".rstrip() for line in cleandoc(told.getDoc() or "").splitlines()), ""]


def setup(app):
    """See Sphinx."""
    app.add_directive("interface", Interface)
