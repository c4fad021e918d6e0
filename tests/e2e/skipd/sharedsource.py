# SPDX-License-Identifier: BSD-2-Clause
"""A skipd whose keys are in PostgreSQL."""
from keysource import KeySource


class SharedSource(KeySource):
    """One of several of a site: its own files and ports, the site's system ID and database."""
    site, conninfo = "Bob", None

    def configure(self):
        super().configure()
        with open(self.file("conf"), encoding="utf-8") as f:
            text = f.read()
        text = text.replace(f"system-id {self.name}\n", f"system-id {self.site}\n")
        text = text.replace(f"store sqlite {self.name.lower()}.db\n", f'store postgresql "{self.conninfo}"\n')
        with open(self.file("conf"), "w", encoding="utf-8") as f:
            f.write(text)
