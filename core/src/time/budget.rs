//! Sharing out the time that is left until a deadline.
//!
//! That a deadline is handed down, and each part of the work gets what is left of it, is common since
//! Go's `context`; that a step's share is computed when the step begins, so that nothing is lost when one
//! before it was quick, is a habit of real-time schedulers ("slack reclaiming").

use crate::time::instant::Instant;
use core::time::Duration;

/// The time until a deadline, to be shared out among the parts of some work.
///
/// What is made of a budget never ends after it: its parts can be handed down without a look at the
/// whole. Nothing here reads a clock: where it matters what time it is, that is an argument, of the
/// clock of which the deadline is. Times saturate; no method panics or allocates, and all may be called
/// in an interrupt.
///
/// | | ends |
/// |---|---|
/// | [`at_most`](Self::at_most) | after that time, if the budget lasts that long |
/// | [`reserve`](Self::reserve) | that much earlier |
/// | [`split`](Self::split), then [`step`](Shares::step) | when this step has had its share |
///
/// ```
/// use core::time::Duration;
/// use umbel_core::{Budget, Instant};
///
/// const fn ms(n: u64) -> Duration {
///     Duration::from_millis(n)
/// }
///
/// let mut now = Instant::EPOCH;
/// // A second for a request, of which the answer must keep 100 ms.
/// let budget = Budget::lasting(now, ms(1000)).reserve(ms(100));
/// let mut steps = budget.split(3);
/// let query = steps.step(now);
/// assert_eq!(query.remaining(now), ms(300));
///
/// now += ms(100); // it was quick: those that follow have more
/// let render = steps.step(now);
/// assert_eq!(render.remaining(now), ms(400));
/// let compress = steps.step(now + ms(400));
/// assert_eq!(compress.deadline(), budget.deadline());
/// ```
///
/// Its [`deadline`](Self::deadline) is what nurseries, tokens and timers take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Budget(Instant);

impl Budget {
    /// As long as anybody needs.
    pub const UNLIMITED: Budget = Budget(Instant::NEVER);

    /// The time until `deadline`. One at [`Instant::NEVER`] is unlimited.
    pub const fn until(deadline: Instant) -> Self {
        Budget(deadline)
    }

    /// `time`, from `now` on.
    pub fn lasting(now: Instant, time: Duration) -> Self {
        Budget(now + time)
    }

    /// When it is spent.
    pub const fn deadline(self) -> Instant {
        self.0
    }

    /// What is left of it. Of one that is unlimited: `Duration::MAX`.
    pub fn remaining(self, now: Instant) -> Duration {
        match self.0 {
            Instant::NEVER => Duration::MAX,
            deadline => deadline - now,
        }
    }

    /// Whether nothing is left of it.
    pub const fn is_spent(self, now: Instant) -> bool {
        self.0.is_due(now)
    }

    /// `time` from `now` on, or what is left if that is less.
    #[must_use = "it is a part, the budget is as it was"]
    pub fn at_most(self, now: Instant, time: Duration) -> Self {
        Budget(self.0.min(now + time))
    }

    /// All but the last `time` of it, which is kept for what comes after. One that is unlimited stays so.
    #[must_use = "it is a part, the budget is as it was"]
    pub fn reserve(self, time: Duration) -> Self {
        match self.0 {
            Instant::NEVER => self,
            deadline => Budget(deadline.before(time)),
        }
    }

    /// Shares it out among steps, in equal parts.
    ///
    /// A step may have several parts, see [`take`](Shares::take). Of steps that run side by side as many
    /// at a time as a limit allows, see [`at_once`](Shares::at_once). (Without a limit they need no
    /// sharing: each has the whole budget.)
    #[must_use = "nothing is shared out before a step is taken"]
    pub const fn split(self, parts: usize) -> Shares {
        Shares {
            budget: self,
            parts,
            taken: 0,
            width: 1,
        }
    }
}

/// A [`Budget`] that is shared out: made by [`Budget::split`].
///
/// Each step's share is computed when it begins, from the time that is left then and the parts that are
/// not taken. So what a step leaves over goes to all those after it; and what it took too much is borne by
/// all of them, not by the next alone. The last part is all that is left. A step more than there are
/// parts has all that is left, too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shares {
    budget: Budget,
    parts: usize,
    taken: usize,
    /// At least 1.
    width: usize,
}

impl Shares {
    /// For steps of which `width` run at a time, as children of a nursery with that limit do: they come
    /// in waves of so many, and each has the time of its wave.
    ///
    /// ```
    /// use core::time::Duration;
    /// use umbel_core::{Budget, Instant};
    ///
    /// let start = Instant::EPOCH;
    /// let seconds = |n| Duration::from_secs(n);
    /// // Five downloads, two at a time: three waves.
    /// let mut shares = Budget::lasting(start, seconds(30)).split(5).at_once(2);
    /// let ends = [0, 0, 10, 10, 20].map(|n| shares.step(start + seconds(n)).deadline());
    /// assert_eq!(ends, [10, 10, 20, 20, 30].map(|n| start + seconds(n)));
    /// ```
    ///
    /// A width of zero is one.
    pub const fn at_once(mut self, width: usize) -> Self {
        self.width = if width == 0 { 1 } else { width };
        self
    }

    /// The share of the next step, which begins now: one part.
    pub fn step(&mut self, now: Instant) -> Budget {
        self.take(1, now)
    }

    /// The share of a step that begins now and has several parts: so steps get shares of different sizes.
    /// No part is no time.
    ///
    /// ```
    /// use core::time::Duration;
    /// use umbel_core::{Budget, Instant};
    ///
    /// let start = Instant::EPOCH;
    /// let mut shares = Budget::lasting(start, Duration::from_secs(10)).split(5);
    /// let download = shares.take(4, start);
    /// assert_eq!(download.remaining(start), Duration::from_secs(8));
    /// ```
    pub fn take(&mut self, parts: usize, now: Instant) -> Budget {
        let waves = self.parts.div_ceil(self.width) - self.taken / self.width;
        let share = parts.div_ceil(self.width);
        self.taken = self.parts.min(self.taken.saturating_add(parts));
        let deadline = self.budget.0;
        if parts == 0 {
            return self.budget.at_most(now, Duration::ZERO);
        }
        if share >= waves || deadline == Instant::NEVER {
            return self.budget;
        }
        let left = deadline.as_nanos().saturating_sub(now.as_nanos());
        // Less than `left`, for the share is less than all.
        let nanos = u128::from(left) * share as u128 / waves as u128;
        let time = Duration::from_nanos(u64::try_from(nanos).unwrap_or(left));
        self.budget.at_most(now, time)
    }

    /// What is left for all steps that have not begun, and those that have not ended.
    pub const fn budget(&self) -> Budget {
        self.budget
    }
}
