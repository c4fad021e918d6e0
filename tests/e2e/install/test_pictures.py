# SPDX-License-Identifier: BSD-2-Clause
"""The pictures in docs/: they are SVG without a script or anything from elsewhere, in light and dark colours, they show all rooms
of the source, and the README shows them."""
import os
import re
import unittest
import xml.etree.ElementTree as ET

SOURCE = os.environ["PPK_SOURCE"]
SVG = "{http://www.w3.org/2000/svg}"


def read(*path):
    with open(os.path.join(SOURCE, *path), encoding="utf-8") as f:
        return f.read()


class Pictures(unittest.TestCase):
    def setUp(self):
        self.names = [n for n in os.listdir(os.path.join(SOURCE, "docs")) if n.endswith(".svg")]
        self.assertGreaterEqual(len(self.names), 2)

    def test_form(self):
        for name in self.names:
            text = read("docs", name)
            root = ET.fromstring(text)
            width, height = (float(x) for x in root.attrib["viewBox"].split()[2:])
            self.assertTrue(root.find(SVG + "title").text and root.find(SVG + "desc").text)
            self.assertIn("prefers-color-scheme: dark", text)
            self.assertFalse(re.search(r"<script|<image|href=|url\((?!#)|@import|\son\w+=", text), name)
            for element in root.iter():
                for attribute, most in (("x", width), ("y", height), ("cx", width), ("cy", height)):
                    if attribute in element.attrib:
                        self.assertTrue(0 <= float(element.attrib[attribute]) <= most, (name, element.attrib))
            ids = {e.attrib["id"] for e in root.iter() if "id" in e.attrib}
            self.assertLessEqual(set(re.findall(r"url\(#(\w+)\)", text)), ids)

    def test_layers_shows_all_rooms(self):
        shown = {e.text for e in ET.fromstring(read("docs", "layers.svg")).iter(SVG + "text")}
        rooms = {r for r in os.listdir(os.path.join(SOURCE, "src")) if os.path.isdir(os.path.join(SOURCE, "src", r))} | {"p11"}
        self.assertLessEqual(rooms, shown)

    def test_the_readme_shows_them(self):
        shown = re.findall(r"!\[[^\]]+\]\(docs/([^)]+)\)", read("README.md"))
        self.assertEqual(sorted(shown), sorted(self.names))


if __name__ == "__main__":
    unittest.main()
