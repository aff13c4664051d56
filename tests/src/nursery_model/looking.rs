//! The model of the nursery: what it shows of itself.

use crate::nursery_model::nursery::{BODY, Line, Looking, Nursery, Path, Stand, View, Why};
use crate::nursery_model::real::counts;
use crate::nursery_model::turns::{Life, Turns, Verdict, wrong};
use umbel_core::{ScopeState, Snapshot};

impl Nursery {
    /// What a child's own token says.
    pub(super) fn token_says(&self, number: usize, real: Option<Why>) -> Verdict {
        // One that was given up is called by name and key until the nursery finds it.
        if self.kids[number].gave_up {
            return Ok(());
        }
        // A handle that was taken before the deadline was said is above the token that it has.
        let alone = &self.kids[number].alone;
        let must = self.cancelled.is_some() || alone.says && alone.deadline.is_none();
        let right = match real {
            None => !must,
            Some(Why::Deadline) if self.may_be_ended_alone(number) => true,
            Some(why) => self.kids[number].alone.whys.has(why) || self.cancelled == Some(why),
        };
        match right {
            true => Ok(()),
            false => wrong(format!(
                "the token of {number} says {real:?}: {:?}",
                self.kids[number]
            )),
        }
    }

    /// How many wait for room, it says.
    pub(super) fn check_queued(&self, real: usize) -> Verdict {
        let in_line = |number: &usize| self.kids[*number].stand == Stand::InLine;
        let known = |number: &usize| self.kids[*number].alone.since.1.is_some();
        let unsure = |number: &usize| {
            let kid = &self.kids[*number];
            let new = kid.stand == Stand::Placed && kid.begun.is_none();
            let called = !kid.after.is_empty() && kid.stand == Stand::InLine;
            new && (kid.tentative || kid.path == Path::Unsure) || called || kid.gave_up
        };
        let all = || 1..self.kids.len();
        let unsure = all().filter(unsure).count();
        let least = all().filter(in_line).filter(known).count();
        let most = all().filter(in_line).count() + unsure;
        match self.over || (least.saturating_sub(unsure)..=most).contains(&real) {
            true => Ok(()),
            false => wrong(format!("{real} wait for room, not {least} to {most}")),
        }
    }

    // -------------------------------------------------------------- snapshots

    /// A snapshot is asked for: its number.
    pub(super) fn look_asked(&mut self, turns: &mut Turns) -> usize {
        self.note_asked(turns);
        let asked = self.tick();
        self.looks.push(Looking {
            asked,
            waits: false,
            known: false,
            answered: false,
            view: None,
        });
        self.looks.len() - 1
    }

    /// Who waits for an answer is woken.
    pub(super) fn look_woken(&mut self, turns: &Turns, number: usize) -> Verdict {
        let asked = self.looks[number].asked;
        let view = match (self.closing, turns.polling) {
            (true, _) => None,
            (_, true) => Some(self.view(turns, asked)),
            (_, false) => return wrong("a snapshot is taken between turns"),
        };
        let looking = &mut self.looks[number];
        if looking.answered {
            return wrong("a snapshot is answered twice");
        }
        (looking.answered, looking.view) = (true, view);
        Ok(())
    }

    /// Nobody waits for it any more.
    pub(super) fn look_over(&mut self, number: usize) {
        self.looks[number].answered = true;
        self.looks[number].waits = false;
    }

    /// The answer is there.
    pub(super) fn look_gives(&mut self, turns: &Turns, number: usize, real: &Snapshot) -> Verdict {
        let view = self.looks[number].view.take();
        self.look_over(number);
        let text = real.to_string();
        let right = match view {
            Some(view) => view.shows(real, &text),
            None if real.state == ScopeState::Ended => match text.lines().count() {
                1 => self.tally(turns).check(counts(&real.stats)),
                _ => wrong("there is somebody in it"),
            },
            // It was answered before anybody could be woken for it.
            None => Ok(()),
        };
        right.map_err(|what| format!("{what}\n{text}"))
    }

    /// What there is to be seen of those that were given before.
    fn view(&self, turns: &Turns, asked: usize) -> View {
        let cancelled = self.cancelled.is_some();
        let cleaning = turns.is_dropped(BODY) && self.left(turns).next().is_none();
        let running = if cancelled { "draining" } else { "running" };
        let scope = match (self.cleans.is_some(), cleaning) {
            (true, _) => vec!["cleaning up"],
            (_, true) => vec!["cleaning up", running],
            (_, false) => vec![running],
        };
        let seen = |&number: &usize| {
            let kid = &self.kids[number];
            kid.given != 0 && kid.given < asked && self.is_there(turns, number)
        };
        let there = (1..self.kids.len()).filter(seen);
        View {
            scope,
            body: !turns.is_dropped(BODY),
            tally: self.tally(turns),
            lines: there.map(|number| self.line_of(number)).collect(),
        }
    }

    fn is_there(&self, turns: &Turns, number: usize) -> bool {
        let live = matches!(turns.children[number].life, Life::In | Life::Out);
        match self.kids[number].stand {
            Stand::Waiting | Stand::InLine | Stand::Placed => live,
            Stand::Deferred | Stand::AtWork => true,
            Stand::Outside | Stand::Late | Stand::Gone => false,
        }
    }

    fn line_of(&self, number: usize) -> Line {
        let kid = &self.kids[number];
        let cleanup = matches!(kid.stand, Stand::Deferred | Stand::AtWork);
        let kind = match () {
            () if cleanup => "cleanup",
            () if kid.service => "service",
            () if kid.shielded => "shielded",
            () if kid.graceful => "graceful",
            () => "",
        };
        let mut doing = Vec::new();
        let new = kid.begun.is_none();
        match kid.stand {
            // Its turn may have come as the nursery was cancelled.
            Stand::Waiting if self.cancelled.is_some() => doing.extend(["waiting", "queued"]),
            Stand::Waiting => doing.push("waiting"),
            Stand::Deferred => doing.push("deferred"),
            Stand::AtWork => doing.push("running"),
            _ if !new => doing.push("running"),
            Stand::Placed if kid.path == Path::Direct => doing.push("starting"),
            _ => {
                doing.extend(["starting", "queued"]);
                if !kid.after.is_empty() {
                    doing.push("waiting");
                }
            }
        }
        if kid.graceful && kid.stand == Stand::Placed {
            if self.cancelled.is_some() {
                doing.retain(|word| !["starting", "running"].contains(word));
                doing.push("draining");
            } else if kid.alone.told.0.is_some() {
                doing.push("draining");
            }
        }
        Line {
            name: kid.named.then_some(number),
            kind,
            doing,
            unsure: self.cancelled.is_some() && new && !cleanup,
        }
    }
}

impl View {
    /// Whether a snapshot shows it, and its text does.
    fn shows(&self, real: &Snapshot, text: &str) -> Verdict {
        self.tally.check(counts(&real.stats))?;
        let mut lines = text.lines();
        let scope = lines.next().unwrap_or_default();
        self.check_scope(real, scope)?;
        let body = |line: &&str| *line == "the body: running";
        let lines: Vec<_> = lines
            .map(|line| line.trim_start_matches(['├', '└', '─', ' ']))
            .filter(|line| !self.body || !body(line))
            .collect();
        let mut taken = vec![None; lines.len()];
        let (unsure, sure): (Vec<_>, Vec<_>) = self.lines.iter().partition(|line| line.unsure);
        let all: Vec<_> = sure.into_iter().chain(unsure).collect();
        for (at, line) in all.iter().enumerate() {
            let found = find(&all, &lines, at, &mut taken, &mut vec![false; lines.len()]);
            if !found && !line.unsure {
                return wrong(format!("{line:?} is not shown"));
            }
        }
        let unknown = taken.iter().position(Option::is_none);
        match unknown {
            Some(at) => wrong(format!("nobody does {:?}", lines[at])),
            None if real.body_ended == self.body => wrong("the body has ended, or not"),
            None => Ok(()),
        }
    }

    fn check_scope(&self, real: &Snapshot, line: &str) -> Verdict {
        let words = self.scope.iter().map(|word| format!("scope: {word}"));
        let mut words = words.filter(|word| line.starts_with(word));
        let stats = &real.stats;
        let ends = [
            (stats.done, "done"),
            (stats.failed, "failed"),
            (stats.panicked, "panicked"),
            (stats.cancelled, "cancelled"),
            (stats.forced, "forced"),
            (stats.skipped, "skipped"),
        ];
        let told = |&(many, how): &(usize, &str)| match many {
            0 => true,
            _ => line.contains(&format!(", {many} {how}")),
        };
        match words.next().is_some() && ends.iter().all(told) {
            true => Ok(()),
            false => wrong(format!("the scope says {line:?}, being {:?}", self.scope)),
        }
    }
}

/// Finds the line of text that is about `who`, if need be by finding others for those who have theirs: an
/// augmenting path (Kuhn, 1955).
fn find(
    all: &[&Line],
    lines: &[&str],
    who: usize,
    taken: &mut [Option<usize>],
    seen: &mut [bool],
) -> bool {
    for at in 0..lines.len() {
        if seen[at] || !all[who].is_like(lines[at]) {
            continue;
        }
        seen[at] = true;
        if taken[at].is_none_or(|other| find(all, lines, other, taken, seen)) {
            taken[at] = Some(who);
            return true;
        }
    }
    false
}

impl Line {
    /// Whether a line of text is about it. Those without a name are told by their sort.
    fn is_like(&self, line: &str) -> bool {
        let Some((who, does)) = line.split_once(": ") else {
            return false;
        };
        let (who, kind) = who.split_once(", ").unwrap_or((who, ""));
        let (who, kind) = match (who.strip_prefix("cleanup "), who) {
            (Some(name), _) => (name, "cleanup"),
            (_, "a cleanup") => ("", "cleanup"),
            _ => (who, kind),
        };
        let name = who.strip_prefix('"').and_then(|who| who.split('"').next());
        let named = name.and_then(|name| name.parse().ok()) == self.name;
        let does = does.split(" for ").next().unwrap_or(does);
        named && kind == self.kind && self.doing.contains(&does)
    }
}
