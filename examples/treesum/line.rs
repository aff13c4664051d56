//! One line of output, as `sha256sum` (coreutils 9) prints it and `sha256sum -c` reads it.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// A SHA-256 sum.
pub(crate) type Digest = [u8; 32];

/// `digest`, two spaces, `path`, newline. If the path has a backslash, newline or carriage return,
/// these are escaped and the line begins with a backslash. Other bytes stand as they are.
pub(crate) fn line(path: &Path, digest: &Digest) -> Vec<u8> {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let name = path.as_os_str().as_bytes();
    let escaped = name.iter().any(|b| matches!(b, b'\\' | b'\n' | b'\r'));

    let mut line = Vec::with_capacity(1 + 64 + 2 + name.len() + 8);
    if escaped {
        line.push(b'\\');
    }
    for byte in digest {
        line.extend([HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
    }
    line.extend(b"  ");
    if escaped {
        for &byte in name {
            match byte {
                b'\\' => line.extend(br"\\"),
                b'\n' => line.extend(br"\n"),
                b'\r' => line.extend(br"\r"),
                other => line.push(other),
            }
        }
    } else {
        line.extend(name);
    }
    line.push(b'\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsStr;

    fn of(name: &[u8]) -> Vec<u8> {
        line(Path::new(OsStr::from_bytes(name)), &[0xa7; 32])
    }

    #[test]
    fn plain_names_stand_as_they_are() {
        let sum = "a7".repeat(32);
        assert_eq!(of(b"d/a b"), format!("{sum}  d/a b\n").as_bytes());
        assert_eq!(of(b"\xff\t*"), [sum.as_bytes(), b"  \xff\t*\n"].concat());
    }

    #[test]
    fn backslash_newline_and_return_are_escaped_and_marked() {
        let sum = "a7".repeat(32);
        assert_eq!(of(b"a\\b"), format!("\\{sum}  a\\\\b\n").as_bytes());
        assert_eq!(
            of(b"a\nb\r\xfe"),
            [b"\\", sum.as_bytes(), b"  a\\nb\\r\xfe\n"].concat()
        );
    }
}
