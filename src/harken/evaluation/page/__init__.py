"""The report as one HTML file to read, search and listen to, and its figures as pictures."""

from harken.evaluation.page.build import PAGE_FILE, write_page
from harken.evaluation.page.clips import Clip
from harken.evaluation.page.figures import write_figures

__all__ = ["PAGE_FILE", "Clip", "write_figures", "write_page"]
