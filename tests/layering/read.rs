//! What a source file declares and uses, read from its tokens.

use crate::violation::{Kind, Violation};
use proc_macro2::{Delimiter, Group, Spacing, TokenStream, TokenTree};
use std::fmt;

#[derive(Debug)]
pub(crate) struct Child {
    pub(crate) name: String,
    pub(crate) line: usize,
    pub(crate) inline: bool,
    pub(crate) test: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Root {
    Crate,
    Extern,
}

/// A path in the code. One from the crate's root is absolute, without `crate`; a glob ends in `*`.
#[derive(Debug)]
pub(crate) struct Used {
    pub(crate) root: Root,
    pub(crate) path: Vec<String>,
    pub(crate) line: usize,
}

impl fmt::Display for Used {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.root == Root::Crate {
            f.write_str("crate")?;
            if !self.path.is_empty() {
                f.write_str("::")?;
            }
        }
        f.write_str(&self.path.join("::"))
    }
}

#[derive(Debug)]
pub(crate) struct File {
    pub(crate) name: String,
    pub(crate) children: Vec<Child>,
    pub(crate) paths: Vec<Used>,
    pub(crate) unsafe_lines: Vec<usize>,
}

/// `time/manual.rs` is `["time", "manual"]`, `lib.rs` is `[]`.
pub(crate) fn module_of(name: &str) -> Vec<String> {
    let stem = name.strip_suffix(".rs").unwrap_or(name);
    if stem == "lib" {
        return Vec::new();
    }
    stem.split('/').map(String::from).collect()
}

impl File {
    pub(crate) fn read(name: &str, text: &str, found: &mut Vec<Violation>) -> Self {
        let mut file = File {
            name: name.into(),
            children: Vec::new(),
            paths: Vec::new(),
            unsafe_lines: Vec::new(),
        };
        match text.parse::<TokenStream>() {
            Ok(tokens) => {
                let mut reader = Reader {
                    file: &mut file,
                    module: module_of(name),
                    depth: 0,
                    found,
                };
                reader.tokens(tokens);
            }
            Err(error) => {
                found.push(file.violation(Kind::Hidden, 0, format!("is not Rust: {error}")))
            }
        }
        file
    }

    pub(crate) fn violation(&self, kind: Kind, line: usize, what: String) -> Violation {
        Violation {
            kind,
            file: self.name.clone(),
            line,
            what,
        }
    }
}

struct Reader<'a> {
    file: &'a mut File,
    /// Where we are, inline modules included: what `self` means.
    module: Vec<String>,
    /// Groups around us: a file module is declared at depth 0.
    depth: usize,
    found: &'a mut Vec<Violation>,
}

impl Reader<'_> {
    fn tokens(&mut self, tokens: TokenStream) {
        let tokens: Vec<_> = tokens.into_iter().collect();
        let mut test = false;
        let mut at = 0;
        while at < tokens.len() {
            let rest = &tokens[at..];
            if let Some((attribute, length)) = attribute(rest) {
                self.attribute(attribute);
                test |= is_cfg_test(attribute);
                at += length;
                continue;
            }
            at += match &rest[0] {
                TokenTree::Ident(ident) if ident == "pub" => visibility(rest),
                TokenTree::Ident(ident) if ident == "mod" => {
                    let length = self.module(rest, test);
                    test = false;
                    length
                }
                TokenTree::Ident(ident) => {
                    test = false;
                    let word = ident.to_string();
                    self.ident(&word, ident.span().start().line, &tokens[..at], &rest[1..]);
                    1
                }
                TokenTree::Group(group) => {
                    test = false;
                    self.group(group, None);
                    1
                }
                _ => {
                    test = false;
                    1
                }
            };
        }
    }

    fn group(&mut self, group: &Group, inline_module: Option<&str>) {
        self.depth += 1;
        self.module.extend(inline_module.map(String::from));
        self.tokens(group.stream());
        if inline_module.is_some() {
            self.module.pop();
        }
        self.depth -= 1;
    }

    fn hidden(&mut self, line: usize, what: &str) {
        self.found
            .push(self.file.violation(Kind::Hidden, line, what.into()));
    }

    fn attribute(&mut self, group: &Group) {
        let tokens: Vec<_> = group.stream().into_iter().collect();
        if names_a_path(&tokens) {
            self.hidden(
                group.span_open().start().line,
                "`#[path]` keeps a module from this check",
            );
        }
        // Attributes such as `derive(crate::x)` name paths, `unsafe(no_mangle)` is unsafe.
        self.group(group, None);
    }

    /// `mod name;` or `mod name { … }`; how many tokens that takes.
    fn module(&mut self, rest: &[TokenTree], test: bool) -> usize {
        let line = rest[0].span().start().line;
        let Some(TokenTree::Ident(name)) = rest.get(1) else {
            if rest.get(1).is_some_and(|token| is_punct(token, '$')) {
                self.hidden(line, "a macro declares a module");
            }
            return 1;
        };
        let name = name.to_string();
        let body = match rest.get(2) {
            Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace => Some(group),
            Some(token) if is_punct(token, ';') => None,
            _ => return 1,
        };
        if self.depth == 0 {
            self.file.children.push(Child {
                name: name.clone(),
                line,
                inline: body.is_some(),
                test,
            });
        } else if body.is_none() {
            self.hidden(line, "a file module is declared inside something");
        }
        if let (Some(body), false) = (body, test) {
            self.group(body, Some(&name));
        }
        3
    }

    fn ident(&mut self, word: &str, line: usize, before: &[TokenTree], after: &[TokenTree]) {
        let inside_path = ends_in_colons(before);
        let path = after_colons(after);
        match word {
            "unsafe" => self.file.unsafe_lines.push(line),
            "include" if after.first().is_some_and(|token| is_punct(token, '!')) => {
                self.hidden(line, "`include!` keeps code from this check");
            }
            // Whatever way leads there, `extern crate` included.
            "atomic" | "portable_atomic" | "portable_atomic_util" | "loom"
                if inside_path
                    || path.is_some()
                    || before.last().is_some_and(|token| is_ident(token, "crate")) =>
            {
                self.used(Root::Extern, vec![word.into()], line);
            }
            _ => {}
        }
        let (root, base) = match word {
            "self" | "super" if inside_path => return,
            "crate" => (Root::Crate, Vec::new()),
            "self" => (Root::Crate, self.module.clone()),
            "super" => (Root::Crate, parent(&self.module)),
            "core" | "std" | "alloc" => (Root::Extern, vec![word.to_owned()]),
            _ => return,
        };
        if let Some(rest) = path {
            self.tree(root, &base, rest, line);
        } else if after.first().is_some_and(|token| is_ident(token, "as")) && word != "self" {
            self.used(root, base, line);
        }
    }

    /// What follows `base::`, which in a `use` may be a tree.
    fn tree(&mut self, root: Root, base: &[String], rest: &[TokenTree], line: usize) {
        let mut path = base.to_vec();
        match rest.first() {
            Some(TokenTree::Ident(name)) => {
                let line = name.span().start().line;
                match name.to_string().as_str() {
                    "self" => {} // `{self, …}` is the module itself
                    "super" => path = parent(&path),
                    name => path.push(name.to_owned()),
                }
                match after_colons(&rest[1..]) {
                    Some(rest) if !rest.first().is_some_and(|token| is_punct(token, '<')) => {
                        self.tree(root, &path, rest, line);
                    }
                    _ => self.used(root, path, line),
                }
            }
            Some(TokenTree::Group(group)) => {
                let tokens: Vec<_> = group.stream().into_iter().collect();
                for branch in tokens.split(|token| is_punct(token, ',')) {
                    if !branch.is_empty() {
                        self.tree(root, &path, branch, line);
                    }
                }
            }
            // A glob, or a macro's variable: it may be anything.
            _ => {
                path.push("*".into());
                self.used(root, path, line);
            }
        }
    }

    fn used(&mut self, root: Root, path: Vec<String>, line: usize) {
        self.file.paths.push(Used { root, path, line });
    }
}

fn parent(module: &[String]) -> Vec<String> {
    module[..module.len().saturating_sub(1)].to_vec()
}

/// `#[…]` or `#![…]` at the start of `tokens`, and how many tokens it takes.
fn attribute(tokens: &[TokenTree]) -> Option<(&Group, usize)> {
    if !is_punct(tokens.first()?, '#') {
        return None;
    }
    let length = if is_punct(tokens.get(1)?, '!') { 3 } else { 2 };
    match tokens.get(length - 1)? {
        TokenTree::Group(group) if group.delimiter() == Delimiter::Bracket => Some((group, length)),
        _ => None,
    }
}

/// `cfg(test)`, or `cfg(all(test, …))`.
fn is_cfg_test(attribute: &Group) -> bool {
    let argument = |tokens: TokenStream, name: &str| {
        let tokens: Vec<_> = tokens.into_iter().collect();
        match &tokens[..] {
            [first, TokenTree::Group(group)] if is_ident(first, name) => Some(group.stream()),
            _ => None,
        }
    };
    let is_test = |tokens: &[TokenTree]| matches!(tokens, [token] if is_ident(token, "test"));
    let Some(condition) = argument(attribute.stream(), "cfg") else {
        return false;
    };
    let tokens: Vec<_> = condition.clone().into_iter().collect();
    is_test(&tokens)
        || argument(condition, "all").is_some_and(|all| {
            let tokens: Vec<_> = all.into_iter().collect();
            tokens.split(|token| is_punct(token, ',')).any(is_test)
        })
}

/// `path = …`, also inside `cfg_attr(…)`.
fn names_a_path(tokens: &[TokenTree]) -> bool {
    tokens
        .windows(2)
        .any(|pair| is_ident(&pair[0], "path") && is_punct(&pair[1], '='))
        || tokens.iter().any(|token| match token {
            TokenTree::Group(group) => {
                names_a_path(&group.stream().into_iter().collect::<Vec<_>>())
            }
            _ => false,
        })
}

/// `pub`, `pub(crate)`, `pub(in crate::x)`: names who may look, and uses nothing.
fn visibility(rest: &[TokenTree]) -> usize {
    let Some(TokenTree::Group(group)) = rest.get(1) else {
        return 1;
    };
    let tokens: Vec<_> = group.stream().into_iter().collect();
    let restricts = group.delimiter() == Delimiter::Parenthesis
        && match &tokens[..] {
            [only] => ["crate", "self", "super"]
                .iter()
                .any(|word| is_ident(only, word)),
            [first, ..] => is_ident(first, "in"),
            [] => false,
        };
    // `pub (crate::x::T)` is the type of a tuple's field.
    if restricts { 2 } else { 1 }
}

/// What follows `::`.
fn after_colons(tokens: &[TokenTree]) -> Option<&[TokenTree]> {
    match tokens {
        [first, second, rest @ ..]
            if is_punct(first, ':') && is_joint(first) && is_punct(second, ':') =>
        {
            Some(rest)
        }
        _ => None,
    }
}

fn ends_in_colons(tokens: &[TokenTree]) -> bool {
    tokens
        .len()
        .checked_sub(2)
        .is_some_and(|start| after_colons(&tokens[start..]).is_some())
}

fn is_punct(token: &TokenTree, c: char) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == c)
}

fn is_joint(token: &TokenTree) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.spacing() == Spacing::Joint)
}

fn is_ident(token: &TokenTree, word: &str) -> bool {
    matches!(token, TokenTree::Ident(ident) if ident == word)
}

// ------------------------------------------------------------------ crates without unsafe

/// Lines at which `text` says `unsafe`, tests included: for crates that have none.
pub(crate) fn unsafe_lines(text: &str) -> Vec<usize> {
    fn walk(tokens: TokenStream, lines: &mut Vec<usize>) {
        for token in tokens {
            match token {
                TokenTree::Ident(ident) if ident == "unsafe" => {
                    lines.push(ident.span().start().line);
                }
                TokenTree::Group(group) => walk(group.stream(), lines),
                _ => {}
            }
        }
    }
    let mut lines = Vec::new();
    walk(text.parse().expect("the file is Rust"), &mut lines);
    lines
}

/// Whether the file has `#![LEVEL(unsafe_code)]` among its inner attributes.
pub(crate) fn refuses_unsafe(text: &str, level: &str) -> bool {
    let tokens: Vec<_> = text
        .parse::<TokenStream>()
        .expect("the file is Rust")
        .into_iter()
        .collect();
    tokens.windows(3).any(|window| {
        is_punct(&window[0], '#')
            && is_punct(&window[1], '!')
            && matches!(&window[2], TokenTree::Group(group)
                if group.stream().to_string().replace(' ', "") == format!("{level}(unsafe_code)"))
    })
}
