"""Which files were looked at, and whether they have changed."""

import os
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from smtpforward.config import ConfigurationError, load
from smtpforward.config.stamps import changed, directories, stamp


class StampTests(SynchronousTestCase):
    """Stamps tell of every change that matters."""

    def setUp(self) -> None:
        """One file in a directory."""
        self.folder = Path(self.mktemp()).resolve()
        self.folder.mkdir()
        self.file = self.folder / "file"
        self.file.write_text("one")

    def stamps(self, *paths: Path) -> dict[str, object]:
        """What they are now."""
        return {str(path): stamp(str(path)) for path in paths or (self.file,)}

    def test_nothing(self) -> None:
        """Reading is no change."""
        stamps = self.stamps()
        self.file.read_text()
        self.assertFalse(changed(stamps))  # type: ignore[arg-type]

    def test_changes(self) -> None:
        """Other content, another file of the name, other permissions, none."""
        other = self.folder / "other"
        for change in (
            lambda: self.file.write_text("three"),
            lambda: (other.write_text("three"), os.replace(other, self.file)),
            lambda: self.file.chmod(0o600),
            self.file.unlink,
            lambda: self.file.write_text("three"),
        ):
            stamps = self.stamps()
            change()  # type: ignore[operator]
            self.assertTrue(changed(stamps))  # type: ignore[arg-type]

    def test_a_link_that_points_elsewhere(self) -> None:
        """What a symbolic link points to counts, as with certificates that are renewed."""
        link, other = self.folder / "link", self.folder / "other"
        other.write_text("one")
        link.symlink_to(self.file)
        stamps = self.stamps(link)
        link.unlink()
        link.symlink_to(other)
        self.assertTrue(changed(stamps))  # type: ignore[arg-type]

    def test_no_path(self) -> None:
        """A path that cannot be one is as good as no file."""
        self.assertIsNone(stamp("a\0b"))

    def test_directories(self) -> None:
        """Those of the files, those that are to be listed, and what of a missing one is there."""
        tls = self.folder / "tls"
        tls.mkdir()
        absent = self.folder / "no" / "such" / "file"
        found = directories(self.stamps(self.file, tls, absent))  # type: ignore[arg-type]
        self.assertEqual(list(found), [str(self.folder), str(tls)])

    def test_linked_directories(self) -> None:
        """Where a directory is a link, its holder is watched too: the link may be changed."""
        outer = self.folder.parent
        link = outer / f"{self.folder.name}.link"
        link.symlink_to(self.folder)
        self.addCleanup(link.unlink)
        found = directories(self.stamps(link / "file"))  # type: ignore[arg-type]
        self.assertEqual(list(found), [str(outer), str(link)])


class LoadTests(SynchronousTestCase):
    """What ``load`` has looked at."""

    def setUp(self) -> None:
        """A directory with what must be there."""
        self.folder = Path(self.mktemp()).resolve()
        self.folder.mkdir()
        self.write("smtp_forward.ini", "host=192.0.2.1\nauth_type=plain\nauth_user=u\n"
                   "auth_pass_file=secret\n")  # fmt: skip
        self.write("secret", "pass\n")

    def write(self, name: str, text: str) -> None:
        """Write one file."""
        (self.folder / name).write_text(text)

    def names(self, files: object) -> set[str]:
        """The names of ``files``, relative to the directory."""
        return {os.path.relpath(path, self.folder) for path in files}  # type: ignore[attr-defined]

    def test_all_files(self) -> None:
        """Those that are there, those that might be, and those that keys name."""
        found = load(self.folder, hostname=lambda: "mx.example.com").files
        expected = {
            *("me", "smtp.ini", "connection.ini", "tls.ini", "smtp_forward.ini"),
            *("auth_flat_file.ini", "host_list", "host_list_regex", "relay_acl_allow"),
            *("outbound.ini", "http.ini", "secret", "tls", "tls_key.pem", "tls_cert.pem"),
        }
        self.assertEqual(self.names(found), expected)
        there = {path for path, known in found.items() if known is not None}
        self.assertEqual(self.names(there), {"smtp_forward.ini", "secret"})

    def test_when_wrong(self) -> None:
        """An error knows them as well: what is missing may come."""
        (self.folder / "secret").unlink()
        self.write("tls.ini", "key=private/key.pem\ncert=private/cert.pem\n")
        with self.assertRaises(ConfigurationError) as caught:
            load(self.folder, hostname=lambda: "mx.example.com")
        names = self.names(caught.exception.files)
        self.assertLessEqual({"secret", "private/key.pem", "private/cert.pem"}, names)
