//! What observers and error texts call things.

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

/// The number of a child, to tell unnamed ones apart: from 1 on, unique within its nursery.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id(NonZeroUsize);

impl Id {
    /// `None` for 0.
    pub(crate) const fn new(number: usize) -> Option<Id> {
        match NonZeroUsize::new(number) {
            Some(number) => Some(Id(number)),
            None => None,
        }
    }

    pub(crate) const fn get(self) -> usize {
        self.0.get()
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Id({})", self.0)
    }
}

/// `#7`.
impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}
