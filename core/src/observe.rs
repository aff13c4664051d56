//! What observers and error texts call things.

use crate::sync::{AtomicUsize, Ordering, global};
use alloc::borrow::Cow;
use alloc::string::String;
use core::fmt;
use core::num::NonZeroUsize;
use core::ops::Deref;

/// The name of a nursery or a child, for people: in errors, reports and snapshots.
///
/// A `&'static str` costs nothing; a `String` is kept as it is.
///
/// ```
/// use umbel_core::Name;
///
/// let fixed = Name::from("audit");
/// let made = Name::from(format!("shard {}", 7));
/// assert_eq!((&*fixed, &*made), ("audit", "shard 7"));
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Cow<'static, str>);

impl From<&'static str> for Name {
    fn from(name: &'static str) -> Self {
        Name(Cow::Borrowed(name))
    }
}

impl From<String> for Name {
    fn from(name: String) -> Self {
        Name(Cow::Owned(name))
    }
}

impl From<Cow<'static, str>> for Name {
    fn from(name: Cow<'static, str>) -> Self {
        Name(name)
    }
}

impl Deref for Name {
    type Target = str;
    fn deref(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for Name {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// What children are called that belong together: they are cancelled by it, all at once.
///
/// A number or a text; the number 7 and the text `"7"` are two keys.
///
/// ```
/// use umbel_core::Key;
///
/// assert_eq!(Key::from(7), Key::from(7_u64));
/// assert_eq!(Key::from("seven"), Key::from(String::from("seven")));
/// assert_ne!(Key::from("7"), Key::from(7));
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Key(Keyed);

#[derive(Clone, PartialEq, Eq, Hash)]
enum Keyed {
    Number(i128),
    Text(Name),
}

macro_rules! number_keys {
    ($($number:ty)*) => {
        $(impl From<$number> for Key {
            fn from(number: $number) -> Self {
                Key(Keyed::Number(number as i128))
            }
        })*
    };
}
number_keys!(i32 i64 isize u32 u64 usize);

impl From<&'static str> for Key {
    fn from(text: &'static str) -> Self {
        Key(Keyed::Text(text.into()))
    }
}

impl From<String> for Key {
    fn from(text: String) -> Self {
        Key(Keyed::Text(text.into()))
    }
}

impl From<Name> for Key {
    fn from(text: Name) -> Self {
        Key(Keyed::Text(text))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Keyed::Number(number) => write!(f, "Key({number})"),
            Keyed::Text(text) => write!(f, "Key({text:?})"),
        }
    }
}

/// The number of a child, to tell unnamed ones apart.
///
/// | shown as | whose | unique |
/// |---|---|---|
/// | `#7` | a child's, from its first poll on: it was the seventh | in its nursery |
/// | `@7` | a child's of whom [`Join::id`](crate::Join::id) was asked | in the process |
///
/// A child of whom it was asked has that one everywhere.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id(NonZeroUsize);

/// Marks an id that was asked.
const ASKED: usize = 1 << (usize::BITS - 1);
/// What was known when it was asked.
const END: usize = 0b11;
const ENDED_WELL: usize = 0b01;
const ENDED_OTHERWISE: usize = 0b10;
const SERIAL: u32 = 2;

global! {
    /// The serial number of the next id that is asked.
    static NEXT: AtomicUsize = AtomicUsize::new(1);
}

impl Id {
    /// Of children that were refused before they had one.
    pub(crate) const REFUSED: Id = match Id::new(ASKED | ENDED_OTHERWISE) {
        Some(id) => id,
        None => unreachable!(),
    };

    /// `None` for 0.
    pub(crate) const fn new(number: usize) -> Option<Id> {
        match NonZeroUsize::new(number) {
            Some(number) => Some(Id(number)),
            None => None,
        }
    }

    /// A new serial number, that leaves the upper `spare` bits of a word free.
    ///
    /// # Panics
    /// If there are no more.
    pub(crate) fn next_serial(spare: u32) -> usize {
        let max = usize::MAX >> (spare + SERIAL);
        // Relaxed: only the numbers are to differ. Looked at before, so that it never wraps.
        let serial = match NEXT.load(Ordering::Relaxed) <= max {
            true => NEXT.fetch_add(1, Ordering::Relaxed),
            false => usize::MAX,
        };
        assert!(serial <= max, "all ids of this process have been given out");
        serial
    }

    /// What is kept in a word of the child that was asked; never 0.
    pub(crate) const fn word(serial: usize, ended_well: Option<bool>) -> usize {
        let end = match ended_well {
            None => 0,
            Some(true) => ENDED_WELL,
            Some(false) => ENDED_OTHERWISE,
        };
        serial << SERIAL | end
    }

    /// `None` for 0: it was not asked.
    pub(crate) const fn from_word(word: usize) -> Option<Id> {
        match word {
            0 => None,
            word => Id::new(ASKED | word),
        }
    }

    pub(crate) const fn get(self) -> usize {
        self.0.get()
    }

    pub(crate) const fn is_asked(self) -> bool {
        self.get() & ASKED != 0
    }

    /// Whether it had ended well, if it had ended before it was asked.
    pub(crate) const fn end_when_asked(self) -> Option<bool> {
        match self.get() & END {
            ENDED_WELL => Some(true),
            ENDED_OTHERWISE => Some(false),
            _ => None,
        }
    }

    /// How it is shown.
    const fn parts(self) -> (char, usize) {
        if self.is_asked() {
            ('@', (self.get() & !ASKED) >> SERIAL)
        } else {
            ('#', self.get())
        }
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (sort, number) = self.parts();
        match self.is_asked() {
            true => write!(f, "Id({sort}{number})"),
            false => write!(f, "Id({number})"),
        }
    }
}

/// `#7` or `@7`.
impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (sort, number) = self.parts();
        write!(f, "{sort}{number}")
    }
}
