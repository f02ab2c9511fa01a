"""What a browser would show of a page, for tests of HTML."""

import base64
import io
from html.parser import HTMLParser

import matplotlib.image


class Text(HTMLParser):
    """What a browser would show of a page's tables, a list for each row; and the tags there are."""

    def __init__(self, page):
        super().__init__()
        self.rows, self.tags, self.images = [], [], []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        if tag == "img":
            self.images.append(dict(attributes))

    def handle_endtag(self, tag):
        self.tags.append(f"/{tag}")

    def handle_data(self, data):
        if self.tags and self.tags[-1] in ("td", "th"):
            self.rows[-1][-1] += data


def pixels(image):
    """Of an image that is embedded in a page."""
    kind, content = image["src"].split(",")
    assert kind == "data:image/png;base64"
    return matplotlib.image.imread(io.BytesIO(base64.b64decode(content)))
