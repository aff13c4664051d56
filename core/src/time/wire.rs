//! A budget on its way to another machine, in a header of a request.
//!
//! What travels is the time that is left, not the deadline: the clocks of two machines are not the same.
//! The time on the way is lost to both, so the peer's deadline is later than ours by as much; who sends
//! waits no longer than its own.
//!
//! # Rules
//!
//! - **W1** Who is told never has more time than there was: all rounding is down, and what cannot be said is
//!   said as the most that can.
//! - **W2** What is not exactly in the form is an error, never a guess: no deadline and no token come of it.
//! - **W3** Nothing here overflows: [`MOST`] in nanoseconds fits into 128 bits, and no text that is read has
//!   more digits than 64 bits hold.

use crate::time::budget::Budget;
use crate::time::instant::Instant;
use core::error::Error;
use core::fmt;
use core::ops::Deref;
use core::time::Duration;

/// The units of gRPC, finest first.
const UNITS: [(u8, u64); 6] = [
    (b'n', 1),
    (b'u', 1_000),
    (b'm', 1_000_000),
    (b'S', 1_000_000_000),
    (b'M', 60 * 1_000_000_000),
    (b'H', 3600 * 1_000_000_000),
];

/// Of gRPC's value.
const GRPC_DIGITS: usize = 8;
const GRPC_MOST: u64 = 99_999_999;

/// The most that gRPC can say: 99,999,999 hours, more than 11,000 years.
const MOST: Duration = Duration::from_secs(GRPC_MOST * 3600);

/// As many as [`MOST`] has in milliseconds.
const MILLIS_DIGITS: usize = 15;

/// The time that is left, as the text of a header; made by [`Budget::to_grpc_timeout`] and
/// [`Budget::to_millis`], or of any time by [`grpc`](Self::grpc) and [`millis`](Self::millis).
///
/// It is a `str` of ASCII letters and digits in a small value of its own: nothing is allocated.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct WireTimeout {
    /// All digits, but the last may be a unit; zeros behind them.
    text: [u8; MILLIS_DIGITS],
    len: u8,
}

impl WireTimeout {
    /// `time` as the value of gRPC's header `grpc-timeout`: at most 8 digits and a unit, of which it takes the
    /// finest that has room, so that at most a part in ten million is lost. It is rounded down; no time at
    /// all is `0n`, and more than `99999999H` is that.
    ///
    /// ```
    /// use core::time::Duration;
    /// use umbel_core::WireTimeout;
    ///
    /// assert_eq!(&*WireTimeout::grpc(Duration::from_millis(250)), "250000u");
    /// assert_eq!(&*WireTimeout::grpc(Duration::from_nanos(1_234_567_899)), "1234567u");
    /// ```
    ///
    /// The form is that of the [specification] of gRPC over HTTP/2.
    ///
    /// [specification]: https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md
    pub fn grpc(time: Duration) -> Self {
        let nanos = time.min(MOST).as_nanos();
        let counts = UNITS.map(|(unit, size)| (unit, nanos / u128::from(size)));
        let fits = |&(_, count): &(u8, u128)| count <= u128::from(GRPC_MOST);
        // The last one fits, for it is no more than `MOST`.
        let (unit, count) = counts.into_iter().find(fits).unwrap_or((b'H', 0));
        WireTimeout::new(count, Some(unit))
    }

    /// `time` in whole milliseconds, rounded down: decimal digits alone. There is no common name for such
    /// a header; Envoy's is `x-envoy-expected-rq-timeout-ms`. More than gRPC's most (99,999,999 hours) is
    /// that.
    pub fn millis(time: Duration) -> Self {
        WireTimeout::new(time.min(MOST).as_millis(), None)
    }

    /// `count` has at most `MILLIS_DIGITS` digits, and one less with a unit.
    fn new(mut count: u128, unit: Option<u8>) -> Self {
        // From behind, then moved to the front.
        let mut text = [0; MILLIS_DIGITS];
        let mut at = text.len();
        if let Some(unit) = unit {
            at -= 1;
            text[at] = unit;
        }
        loop {
            at -= 1;
            text[at] = b'0' + (count % 10) as u8;
            count /= 10;
            if count == 0 || at == 0 {
                break;
            }
        }
        text.rotate_left(at);
        WireTimeout {
            text,
            len: (MILLIS_DIGITS - at) as u8,
        }
    }

    /// The time that a `grpc-timeout` says, at most 99,999,999 hours. Zero is a time, that is over at once.
    ///
    /// # Errors
    ///
    /// It is not 1 to 8 ASCII digits and one of the units `H`, `M`, `S`, `m`, `u` and `n`.
    ///
    /// ```
    /// use core::time::Duration;
    /// use umbel_core::{WireError, WireTimeout};
    ///
    /// assert_eq!(WireTimeout::read_grpc("15S"), Ok(Duration::from_secs(15)));
    /// assert_eq!(WireTimeout::read_grpc("-1S"), Err(WireError::NotADigit(b'-')));
    /// assert_eq!(WireTimeout::read_grpc("15"), Err(WireError::NoUnit));
    /// ```
    pub fn read_grpc(value: impl AsRef<[u8]>) -> Result<Duration, WireError> {
        let (&last, number) = value.as_ref().split_last().ok_or(WireError::Empty)?;
        if last.is_ascii_digit() {
            return Err(WireError::NoUnit);
        }
        let unit = UNITS.iter().find(|(unit, _)| *unit == last);
        let &(_, size) = unit.ok_or(WireError::UnknownUnit(last))?;
        let nanos = u128::from(read(number, GRPC_DIGITS)?) * u128::from(size);
        Ok(from_nanos(nanos))
    }

    /// The time that decimal milliseconds say, at most 99,999,999 hours.
    ///
    /// # Errors
    ///
    /// It is not 1 to 15 ASCII digits and nothing else, or it is more than that.
    pub fn read_millis(value: impl AsRef<[u8]>) -> Result<Duration, WireError> {
        let time = Duration::from_millis(read(value.as_ref(), MILLIS_DIGITS)?);
        match time <= MOST {
            true => Ok(time),
            false => Err(WireError::TooLong),
        }
    }
}

/// `number` as a number, of not more than 19 digits.
fn read(number: &[u8], digits: usize) -> Result<u64, WireError> {
    // First, so that the work is bounded whatever comes.
    if number.len() > digits {
        return Err(WireError::TooManyDigits);
    }
    if number.is_empty() {
        return Err(WireError::Empty);
    }
    number.iter().try_fold(0, |value, &byte| match byte {
        b'0'..=b'9' => Ok(value * 10 + u64::from(byte - b'0')),
        _ => Err(WireError::NotADigit(byte)),
    })
}

/// `nanos` is no more than [`MOST`].
fn from_nanos(nanos: u128) -> Duration {
    const SECOND: u128 = 1_000_000_000;
    Duration::new((nanos / SECOND) as u64, (nanos % SECOND) as u32)
}

impl Deref for WireTimeout {
    type Target = str;

    fn deref(&self) -> &str {
        // It is ASCII.
        core::str::from_utf8(&self.text[..usize::from(self.len)]).unwrap_or_default()
    }
}

impl AsRef<str> for WireTimeout {
    fn as_ref(&self) -> &str {
        self
    }
}

impl AsRef<[u8]> for WireTimeout {
    fn as_ref(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl fmt::Display for WireTimeout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self)
    }
}

impl fmt::Debug for WireTimeout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("WireTimeout").field(&&**self).finish()
    }
}

/// Across the wire.
///
/// A budget goes into a header as the time that is left of it, and is read from one as so much time from
/// the receiver's `now` on. So neither side needs to know the other's clock:
///
/// ```
/// use core::time::Duration;
/// use umbel_core::{Budget, CancellationToken, Instant, WireError};
///
/// // A client that has 2 s, of which it keeps some for itself.
/// let now = Instant::EPOCH;
/// let budget = Budget::lasting(now, Duration::from_secs(2)).reserve(Duration::from_millis(500));
/// let header = budget.to_grpc_timeout(now); // `None`: no header
/// assert_eq!(header.as_deref(), Some("1500000u"));
///
/// /// A server, at its own time: a token for what it does, never past its own deadline.
/// fn request(
///     server: &CancellationToken,
///     header: Option<&str>,
///     now: Instant,
/// ) -> Result<CancellationToken, WireError> {
///     Ok(match header {
///         None => server.child_token(),
///         Some(value) => {
///             server.child_with_deadline(Budget::from_grpc_timeout(value, now)?.deadline())
///         }
///     })
/// }
///
/// let now = Instant::from_nanos(77_000_000_000);
/// let server = CancellationToken::new();
/// let token = request(&server, header.as_deref(), now)?;
/// assert_eq!(token.deadline(), Some(now + Duration::from_millis(1500)));
/// assert_eq!(request(&server, Some("soon"), now).unwrap_err(), WireError::NotADigit(b's'));
/// # Ok::<(), WireError>(())
/// ```
///
/// Rounding is always down: the peer never has more time than there is. What a header says beyond the end
/// of [`Instant`] is no deadline at all.
impl Budget {
    /// What is left of it, as the value of gRPC's header `grpc-timeout`: see [`WireTimeout::grpc`]. `None`
    /// for one that is unlimited: then the header is left out. One that is spent is `0n`; it need not
    /// be sent at all.
    pub fn to_grpc_timeout(self, now: Instant) -> Option<WireTimeout> {
        self.left(now).map(WireTimeout::grpc)
    }

    /// What is left of it, in whole milliseconds: see [`WireTimeout::millis`]. `None` for one that is
    /// unlimited: then the header is left out. Less than one is `0`.
    pub fn to_millis(self, now: Instant) -> Option<WireTimeout> {
        self.left(now).map(WireTimeout::millis)
    }

    /// The time that a `grpc-timeout` says, from `now` on.
    ///
    /// # Errors
    ///
    /// As [`WireTimeout::read_grpc`].
    pub fn from_grpc_timeout(value: impl AsRef<[u8]>, now: Instant) -> Result<Self, WireError> {
        let time = WireTimeout::read_grpc(value)?;
        Ok(Budget::lasting(now, time))
    }

    /// The time that decimal milliseconds say, from `now` on.
    ///
    /// # Errors
    ///
    /// As [`WireTimeout::read_millis`].
    pub fn from_millis(value: impl AsRef<[u8]>, now: Instant) -> Result<Self, WireError> {
        let time = WireTimeout::read_millis(value)?;
        Ok(Budget::lasting(now, time))
    }

    fn left(self, now: Instant) -> Option<Duration> {
        (self != Budget::UNLIMITED).then(|| self.remaining(now))
    }
}

/// Why a header says no time; from [`WireTimeout::read_grpc`] and [`WireTimeout::read_millis`].
///
/// There is no deadline then, and whether that is none at all or the end of the request is the receiver's
/// to say. (gRPC's own servers refuse it.)
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WireError {
    /// There is no number.
    Empty,
    /// This byte is in the place of a digit: a sign, a space, a point, a letter, half of some character.
    NotADigit(u8),
    /// More digits than there may be: 8 in gRPC's value, 15 in milliseconds. Zeros at the front count.
    TooManyDigits,
    /// A number without gRPC's unit.
    NoUnit,
    /// This byte is in the place of gRPC's unit, and is none.
    UnknownUnit(u8),
    /// More than 99,999,999 hours.
    TooLong,
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            WireError::Empty => "a timeout without a number",
            WireError::NotADigit(byte) => {
                return write!(f, "a timeout with {:?} for a digit", Byte(*byte));
            }
            WireError::TooManyDigits => "a timeout with too many digits",
            WireError::NoUnit => "a timeout without a unit",
            WireError::UnknownUnit(byte) => {
                return write!(f, "a timeout in the unknown unit {:?}", Byte(*byte));
            }
            WireError::TooLong => "a timeout of more than 99999999 hours",
        };
        f.write_str(text)
    }
}

impl Error for WireError {}

/// A byte that came from outside: nothing of it reaches a log but printable ASCII.
struct Byte(u8);

impl fmt::Debug for Byte {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "'{}'", self.0.escape_ascii())
    }
}
