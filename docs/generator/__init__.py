"""The site: pages that are written, together with those that are made from the sources, for Sphinx to read."""
