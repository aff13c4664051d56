//! The rules, over sources in memory: a map from a path below `core/src` to the file's text.
//!
//! They look at tokens, so comments and strings do not count and the bodies of macros do. Modules
//! under `#[cfg(test)]` are exempt; so are the imports of `lib.rs`, which re-exports everything.

use crate::read::{Child, File, Root, module_of};
use crate::violation::{Kind, Violation};
use std::collections::{BTreeMap, BTreeSet};

pub(crate) type Sources = BTreeMap<String, String>;

#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules<'a> {
    /// Each top-level module and its rank.
    pub(crate) ranks: &'a [(&'a str, u8)],
    /// The module that alone names atomics, cells, `Arc` and raw allocation.
    pub(crate) facade: &'a str,
    /// The files that may contain `unsafe`, and do.
    pub(crate) may_be_unsafe: &'a [&'a str],
}

/// Everything in `sources` that breaks `rules`.
pub(crate) fn check(sources: &Sources, rules: &Rules<'_>) -> Vec<Violation> {
    let mut found = Vec::new();
    let files: BTreeMap<Vec<String>, File> = sources
        .iter()
        .map(|(name, text)| (module_of(name), File::read(name, text, &mut found)))
        .collect();
    let exempt = test_files(&files);
    let house = House {
        files: &files,
        rules,
    };
    house.check_ranks(&mut found);
    house.check_files(&exempt, &mut found);
    for (module, file) in &files {
        if exempt.contains(module) {
            continue;
        }
        for used in &file.paths {
            let verdict = match used.root {
                Root::Crate => house.judge(module, &used.path),
                Root::Extern => house.judge_extern(module, &used.path),
            };
            if let Some(kind) = verdict {
                found.push(file.violation(kind, used.line, used.to_string()));
            }
        }
        house.check_unsafe(file, &mut found);
    }
    for listed in rules.may_be_unsafe {
        if !sources.contains_key(*listed) {
            found.push(Violation {
                kind: Kind::Stale,
                file: (*listed).into(),
                line: 0,
                what: "is listed as unsafe and does not exist".into(),
            });
        }
    }
    found.sort();
    found.dedup();
    found
}

// ------------------------------------------------------------------ judging

struct House<'a> {
    files: &'a BTreeMap<Vec<String>, File>,
    rules: &'a Rules<'a>,
}

impl House<'_> {
    fn rank(&self, module: &str) -> Option<u8> {
        self.rules
            .ranks
            .iter()
            .find(|(name, _)| *name == module)
            .map(|(_, rank)| *rank)
    }

    /// Children of a face, in the order in which it declares them.
    fn children(&self, face: &[String]) -> &[Child] {
        self.files.get(face).map_or(&[], |file| &file.children)
    }

    fn check_ranks(&self, found: &mut Vec<Violation>) {
        let Some(root) = self.files.get(&[][..]) else {
            return;
        };
        let mut highest = 0;
        for child in root.children.iter().filter(|child| !child.test) {
            match self.rank(&child.name) {
                None => found.push(root.violation(
                    Kind::Rank,
                    child.line,
                    format!("`{}` has no rank", child.name),
                )),
                Some(rank) if rank < highest => found.push(root.violation(
                    Kind::Rank,
                    child.line,
                    format!(
                        "`{}` (rank {rank}) is declared below rank {highest}",
                        child.name
                    ),
                )),
                Some(rank) => highest = rank,
            }
        }
    }

    /// Each file is declared by its face, and each declared file exists.
    fn check_files(&self, exempt: &BTreeSet<Vec<String>>, found: &mut Vec<Violation>) {
        for (module, file) in self.files {
            if let Some((name, face)) = module.split_last()
                && !self
                    .children(face)
                    .iter()
                    .any(|child| !child.inline && child.name == *name)
            {
                found.push(file.violation(Kind::Hidden, 0, "no face declares this file".into()));
            }
            if exempt.contains(module) {
                continue;
            }
            for child in file.children.iter().filter(|child| !child.inline) {
                let mut path = module.clone();
                path.push(child.name.clone());
                if !self.files.contains_key(&path) {
                    found.push(file.violation(
                        Kind::Hidden,
                        child.line,
                        format!("no file for `mod {}`", child.name),
                    ));
                }
            }
        }
    }

    fn check_unsafe(&self, file: &File, found: &mut Vec<Violation>) {
        let listed = self.rules.may_be_unsafe.contains(&file.name.as_str());
        match file.unsafe_lines.first() {
            Some(&line) if !listed => {
                found.push(file.violation(Kind::Unsafe, line, "is not on the list".into()));
            }
            None if listed => found.push(file.violation(
                Kind::Stale,
                0,
                "is listed as unsafe and contains none".into(),
            )),
            _ => {}
        }
    }

    /// May the file `user` name `crate::used`?
    fn judge(&self, user: &[String], used: &[String]) -> Option<Kind> {
        let (home, _) = user.split_first()?; // lib.rs may
        let Some(target) = used.first() else {
            return Some(Kind::Root);
        };
        if !self.children(&[]).iter().any(|child| child.name == *target) {
            return Some(Kind::Root);
        }
        if target == home {
            return self.judge_at_home(user, used);
        }
        match (self.rank(home), self.rank(target)) {
            (Some(home), Some(target)) if target > home => Some(Kind::Upward),
            (Some(home), Some(target)) if target == home => Some(Kind::Sideways),
            // What has no rank is reported where it is declared.
            _ => None,
        }
    }

    fn judge_at_home(&self, user: &[String], used: &[String]) -> Option<Kind> {
        let shared = user.iter().zip(used).take_while(|(a, b)| a == b).count();
        if shared == user.len() {
            return None; // itself, or its own children
        }
        let Some(target) = used.get(shared) else {
            return Some(Kind::Face);
        };
        let siblings = self.children(&user[..shared]);
        let place = |name: &String| siblings.iter().position(|child| child.name == *name);
        match (place(&user[shared]), place(target)) {
            // Not a sibling, so an item of the face.
            (_, None) => Some(Kind::Face),
            (Some(mine), Some(theirs)) if theirs > mine => Some(Kind::Upward),
            _ => None,
        }
    }

    /// May the file `user` name this item of another crate?
    fn judge_extern(&self, user: &[String], used: &[String]) -> Option<Kind> {
        if user.first().is_some_and(|home| home == self.rules.facade) {
            return None;
        }
        let used: Vec<_> = used.iter().map(String::as_str).collect();
        let forbidden = match used[..] {
            // The whole crate under another name, or a crate that only the facade knows.
            [_] => true,
            ["portable_atomic" | "portable_atomic_util" | "loom", ..] => true,
            [_, "*" | "sync" | "atomic", ..] => true,
            [_, "cell"] | [_, "cell", "*" | "UnsafeCell" | "SyncUnsafeCell", ..] => true,
            ["alloc" | "std", "alloc"] => true,
            [
                _,
                "alloc",
                "*" | "alloc" | "dealloc" | "realloc" | "alloc_zeroed" | "System",
                ..,
            ] => true,
            _ => false,
        };
        forbidden.then_some(Kind::Facade)
    }
}

/// Files below a `#[cfg(test)] mod …;`.
fn test_files(files: &BTreeMap<Vec<String>, File>) -> BTreeSet<Vec<String>> {
    let is_test = |module: &[String]| {
        (0..module.len()).any(|depth| {
            files.get(&module[..depth]).is_some_and(|face| {
                face.children
                    .iter()
                    .any(|child| child.test && child.name == module[depth])
            })
        })
    };
    files
        .keys()
        .filter(|module| is_test(module))
        .cloned()
        .collect()
}
