//! What the sources of crates show by debug formatting, and whether that is a text. Types are read off signatures, fields,
//! constants and bindings with a type or a plain value; where that does not tell, the benefit of the doubt is given.

use std::path::Path;

use proc_macro2::{TokenStream, TokenTree};
use syn::punctuated::Punctuated;
use syn::visit::{self, Visit};
use syn::{Attribute, Expr, Field, Fields, FnArg, Lit, Local, Macro, Pat, Signature, Token, Type};

use crate::rooms::files;

/// Macros whose words only a programmer reads.
const PROGRAMMERS: [&str; 7] = [
    "assert",
    "assert_eq",
    "assert_ne",
    "debug_assert",
    "matches",
    "panic",
    "unreachable",
];

/// Macros that write a line of the log.
const LOGS: [&str; 5] = ["debug", "error", "info", "trace", "warn"];

/// Types that are texts; what else has a name is none.
const TEXTS: [&str; 10] = [
    "str", "String", "Path", "PathBuf", "OsStr", "OsString", "char", "Cow", "Arc", "Box",
];

/// The sources of some crates.
#[derive(Default)]
pub struct Crates(Vec<(String, syn::File)>);

impl Crates {
    /// Reads every file below `folders`.
    pub fn read<'a>(folders: impl Iterator<Item = &'a std::path::PathBuf>) -> Self {
        let mut crates = Self::default();
        for file in folders.flat_map(|folder| files(folder)) {
            let is_test = |path: &Path| path.iter().any(|part| part == "tests" || part == "testing");
            let named = file
                .file_stem()
                .is_some_and(|name| name == "tests" || name == "testing");
            if !named && !is_test(&file) {
                crates.add(
                    &file.display().to_string(),
                    &std::fs::read_to_string(&file).unwrap(),
                );
            }
        }
        crates
    }

    /// Adds a file.
    pub fn add(&mut self, name: &str, code: &str) {
        let file = syn::parse_file(code).unwrap_or_else(|error| panic!("{name}: {error}"));
        self.0.push((name.to_owned(), file));
    }

    /// How many values are shown so, and those that are no text, with the files.
    pub fn debug_shown(&self) -> (usize, Vec<(String, String)>) {
        let (mut seen, mut wrong) = (0, Vec::new());
        for (name, file) in &self.0 {
            let mut reader = Reader::default();
            reader.visit_file(file);
            seen += reader.seen;
            wrong.extend(reader.wrong.into_iter().map(|what| (name.clone(), what)));
        }
        (seen, wrong)
    }
}

/// Reads one file. `names` are those in sight, with whether they are texts; the latest is the nearest.
#[derive(Default)]
struct Reader {
    names: Vec<(String, Option<bool>)>,
    /// Which of them are bound in patterns.
    patterns: std::collections::BTreeSet<usize>,
    seen: usize,
    wrong: Vec<String>,
}

impl Reader {
    fn note(&mut self, name: &str, is_text: Option<bool>) {
        self.names.push((name.to_owned(), is_text));
    }

    fn show(&mut self, what: &str, is_text: Option<bool>) {
        self.seen += 1;
        if is_text == Some(false) {
            self.wrong.push(what.to_owned());
        }
    }

    /// Whether the nearest binding of that name is in a pattern and no `let` of its own.
    fn is_of_a_pattern(&self, name: &str) -> bool {
        let nearest = self.names.iter().rposition(|(known, _)| known == name);
        nearest.is_some_and(|at| self.patterns.contains(&at))
    }

    fn named(&self, name: &str) -> Option<bool> {
        self.names.iter().rev().find(|(known, _)| known == name)?.1
    }

    fn is_text(&self, shown: &Expr) -> Option<bool> {
        match shown {
            Expr::Lit(lit) => Some(matches!(lit.lit, Lit::Str(_))),
            Expr::Reference(inner) => self.is_text(&inner.expr),
            Expr::Path(path) => self.named(&path.path.get_ident()?.to_string()),
            Expr::Macro(called) if called.mac.path.is_ident("vec") => Some(false),
            Expr::Array(_) | Expr::Struct(_) | Expr::Tuple(_) => Some(false),
            Expr::MethodCall(call) => match call.method.to_string().as_str() {
                "collect" => Some(call.turbofish.as_ref()?.args.first().is_some_and(|argument| {
                    matches!(argument, syn::GenericArgument::Type(of) if is_text(of) == Some(true))
                })),
                "kind" | "get" | "first" | "last" | "as_deref" | "status" | "code" | "ok" => Some(false),
                _ => None,
            },
            _ => None,
        }
    }

    /// The fields of a log line. `?` asks for debug formatting, and here nothing is a text that is not known to be one.
    fn log(&mut self, tokens: TokenStream) {
        let mut before: Option<char> = None;
        let mut tokens = tokens.into_iter().peekable();
        while let Some(token) = tokens.next() {
            let is_sigil = matches!(&token, TokenTree::Punct(punct) if punct.as_char() == '?');
            if is_sigil && matches!(before, None | Some(',' | '=')) {
                let is_end =
                    |token: &TokenTree| matches!(token, TokenTree::Punct(punct) if punct.as_char() == ',');
                let mut value = TokenStream::new();
                while let Some(token) = tokens.next_if(|token| !is_end(token)) {
                    value.extend([token]);
                }
                let shown = value.to_string();
                let is_text = syn::parse2::<Expr>(value)
                    .ok()
                    .and_then(|value| self.is_text(&value));
                self.show(&shown, Some(is_text == Some(true)));
            }
            before = match &token {
                TokenTree::Punct(punct) => Some(punct.as_char()),
                _ => Some(' '),
            };
        }
    }

    /// One format string with the values after it.
    fn format(&mut self, format: &str, values: &[&Expr]) {
        let whole = format.starts_with('{') && format.ends_with(":?}") && format.matches('{').count() == 1;
        let mut next = 0;
        for hole in holes(format) {
            let (name, how) = hole.split_once(':').unwrap_or((hole, ""));
            let positional = name.is_empty().then(|| values.get(next).copied()).flatten();
            next += usize::from(name.is_empty());
            if !how.contains('?') {
                continue;
            }
            let assigned = values.iter().find_map(|value| match value {
                Expr::Assign(set) if matches!(&*set.left, Expr::Path(path) if path.path.is_ident(name)) => {
                    Some(&*set.right)
                }
                _ => None,
            });
            let is_text = match positional.or(assigned) {
                Some(value) => self.is_text(value),
                None => self.named(name),
            };
            let shown = match positional {
                Some(Expr::Path(path)) => path.path.get_ident().map_or(name.to_owned(), ToString::to_string),
                _ => name.to_owned(),
            };
            // A message that is nothing else, and what was left over of a `match`.
            let is_rest = whole && is_text.is_none() && positional.is_none() && self.is_of_a_pattern(name);
            self.show(&shown, if is_rest { Some(false) } else { is_text });
        }
    }

    fn error(&mut self, attributes: &[Attribute], fields: &Fields) {
        for attribute in attributes
            .iter()
            .filter(|attribute| attribute.path().is_ident("error"))
        {
            let Ok(list) = attribute.meta.require_list() else {
                continue;
            };
            for name in holes(&list.tokens.to_string()).filter_map(|hole| hole.strip_suffix(":?")) {
                let field = |field: &&Field| field.ident.as_ref().is_some_and(|ident| ident == name);
                let field = fields.iter().find(field).map(|field| is_text(&field.ty));
                self.show(name, field.unwrap_or_else(|| self.named(name)));
            }
        }
    }
}

impl<'ast> Visit<'ast> for Reader {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        let attributes = match item {
            syn::Item::Mod(item) => &item.attrs,
            syn::Item::Fn(item) => &item.attrs,
            syn::Item::Const(item) => {
                self.note(&item.ident.to_string(), is_text(&item.ty));
                &item.attrs
            }
            _ => return visit::visit_item(self, item),
        };
        let test = |attribute: &Attribute| {
            attribute.path().is_ident("test")
                || attribute.path().is_ident("cfg")
                    && attribute
                        .meta
                        .require_list()
                        .is_ok_and(|list| list.tokens.to_string() == "test")
        };
        if !attributes.iter().any(test) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_struct(&mut self, item: &'ast syn::ItemStruct) {
        self.error(&item.attrs, &item.fields);
    }

    fn visit_variant(&mut self, variant: &'ast syn::Variant) {
        self.error(&variant.attrs, &variant.fields);
    }

    fn visit_signature(&mut self, signature: &'ast Signature) {
        for argument in &signature.inputs {
            if let FnArg::Typed(argument) = argument
                && let Pat::Ident(name) = &*argument.pat
            {
                self.note(&name.ident.to_string(), is_text(&argument.ty));
            }
        }
    }

    fn visit_local(&mut self, local: &'ast Local) {
        visit::visit_local(self, local);
        let (pattern, given) = match &local.pat {
            Pat::Type(typed) => (&*typed.pat, is_text(&typed.ty)),
            pattern => (
                pattern,
                local.init.as_ref().and_then(|init| self.is_text(&init.expr)),
            ),
        };
        let mut binds = Binds::default();
        binds.visit_pat(pattern);
        let alone = matches!(pattern, Pat::Ident(_));
        for name in binds.0 {
            self.note(&name, given.filter(|_| alone));
        }
    }

    fn visit_pat_ident(&mut self, pattern: &'ast syn::PatIdent) {
        self.patterns.insert(self.names.len());
        self.note(&pattern.ident.to_string(), None);
    }

    fn visit_macro(&mut self, called: &'ast Macro) {
        let name = called
            .path
            .segments
            .last()
            .map(|last| last.ident.to_string())
            .unwrap_or_default();
        if LOGS.contains(&name.as_str()) {
            self.log(called.tokens.clone());
        }
        let values = called.parse_body_with(Punctuated::<Expr, Token![,]>::parse_terminated);
        let Ok(values) = values else { return };
        for value in &values {
            self.visit_expr(value);
        }
        if PROGRAMMERS.contains(&name.as_str()) {
            return;
        }
        let format = values
            .iter()
            .position(|value| matches!(value, Expr::Lit(lit) if matches!(lit.lit, Lit::Str(_))));
        if let Some(at) = format
            && let Expr::Lit(lit) = &values[at]
            && let Lit::Str(text) = &lit.lit
        {
            self.format(&text.value(), &values.iter().skip(at + 1).collect::<Vec<_>>());
        }
    }
}

#[derive(Default)]
struct Binds(Vec<String>);

impl<'ast> Visit<'ast> for Binds {
    fn visit_pat_ident(&mut self, pattern: &'ast syn::PatIdent) {
        self.0.push(pattern.ident.to_string());
    }
}

/// What stands between braces.
fn holes(format: &str) -> impl Iterator<Item = &str> {
    let end = |hole: &&str| {
        hole.chars()
            .all(|c| c.is_ascii_alphanumeric() || "_:?#.<>^-".contains(c))
    };
    format
        .split('{')
        .skip(1)
        .filter_map(|rest| rest.split_once('}').map(|(hole, _)| hole))
        .filter(end)
}

fn is_text(of: &Type) -> Option<bool> {
    match of {
        Type::Reference(inner) => is_text(&inner.elem),
        Type::Path(path) => {
            let name = path.path.segments.last()?.ident.to_string();
            // A type parameter may be anything.
            (name.len() > 1).then(|| TEXTS.contains(&name.as_str()))
        }
        Type::ImplTrait(_) => None,
        _ => Some(false),
    }
}
