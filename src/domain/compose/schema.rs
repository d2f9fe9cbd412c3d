//! Describes what a compose file may hold: kinds of values, short forms, identities, and when a key
//! is printed. Owns these words. Face: `Shape`, `Fields`, `Field`, `Show`. Never holds the keys
//! themselves, which `keys` lists, nor logic: reading, merging and printing walk the tables.

/// The kind of one value.
pub(super) enum Shape {
    /// Text; a bare number or truth value is an error, as in Docker Compose.
    Text,
    /// Text that may be written as a bare number.
    Loose,
    /// One of a few words.
    Word(&'static [&'static str]),
    /// `true` or `false`, also as text.
    Flag,
    /// A whole number, also as text.
    Integer,
    /// A number, also as text.
    Float,
    /// A size such as `512m`; a number of bytes afterwards.
    Bytes,
    /// The same, where a bare number is an error.
    Size,
    /// When an image is fetched: a word, or `every_` and a time.
    PullPolicy,
    /// What may be left empty: null counts as absent, and not as a mistake.
    OrNull(&'static Shape),
    /// Permission bits, written in octal.
    Mode,
    /// A whole number, or `all`, which is -1 afterwards.
    Count,
    /// A duration such as `1m30s`.
    Duration,
    /// A path of the client, absolute afterwards.
    Path,
    /// A build context: a path, a URL or another service.
    Context,
    /// A command line: text is split as a shell would.
    Command,
    /// A health check's command: text is for the shell.
    HealthTest,
    /// `KEY=value` lines or a mapping; a mapping afterwards.
    Pairs(Unset),
    /// The same, and only as a mapping.
    Options,
    /// `host=address` lines or a mapping; lines afterwards.
    Hosts,
    /// A list; merging appends what is new.
    List(&'static Shape, Unique),
    /// A mapping with names of the user's choice.
    Map(&'static Shape),
    /// A mapping with known keys.
    Object(&'static Fields),
    /// A value with a short form; the long form afterwards.
    Short(Form, &'static Shape),
    /// Anything: extensions.
    Any,
}

/// What a pair without a value means.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Unset {
    /// Take it from the environment.
    Inherit,
    /// Empty text.
    Empty,
}

/// What makes two items of a list the same one, so that a later file replaces it.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Unique {
    /// Nothing: items are appended.
    No,
    /// The whole text; the same text twice in one file is a mistake.
    Distinct,
    /// The whole text.
    Text,
    /// Host address, both ports and protocol.
    Port,
    /// The path in the container.
    Target,
    /// The path in the container, or else the name below this directory.
    Mounted(&'static str),
    /// The file's path.
    Path,
    /// The subnet: a later list stands for the whole, each item laid over the earlier one.
    Subnet,
}

/// Which short form a value has.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Form {
    /// The context's path.
    Build,
    /// A list of names: service dependencies.
    DependsOn,
    /// A list of names: networks.
    Networks,
    /// One path, or a list of paths or mappings.
    EnvFile,
    /// One text instead of a list.
    OneOrMore,
    /// `[host:]container[/protocol]`, ranges included: one item becomes several.
    Ports,
    /// `[source:]target[:options]`.
    Mount,
    /// The name of a config or secret.
    Reference,
    /// The same, with the default target of secrets.
    SecretReference,
    /// `source[:target[:permissions]]`.
    Device,
    /// `all`, or a list of device requests.
    Gpus,
    /// The service's name.
    Extends,
    /// One number for both limits.
    Ulimit,
    /// `default` or `id=path` lines.
    Ssh,
    /// `true`, or the old `{name: …}`.
    External,
    /// None; but a bind-mounted device is a path.
    Volume,
    /// One path, or a list of them.
    Include,
}

/// A mapping with known keys.
pub(super) struct Fields {
    /// The keys.
    pub(super) known: &'static [Field],
    /// Keys that must be there once all files are merged.
    pub(super) required: &'static [&'static str],
}

/// One key.
pub(super) struct Field {
    /// Its name in the file.
    pub(super) name: &'static str,
    /// Its kind.
    pub(super) shape: Shape,
    /// When it is printed.
    pub(super) show: Show,
}

/// When a key is printed in the canonical model.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Show {
    /// When it is neither empty, zero nor false.
    Filled,
    /// When it was given.
    Present,
    /// Always: the empty value when it was not given.
    Always,
    /// Under another name, when filled.
    As(&'static str),
    /// Never: it is consumed while loading.
    Never,
}

impl Fields {
    /// The key of this name.
    pub(super) fn find(&self, name: &str) -> Option<&'static Field> {
        self.known.iter().find(|field| field.name == name)
    }

    /// Every name, for a suggestion.
    pub(super) fn names(&self) -> Vec<&'static str> {
        self.known.iter().map(|field| field.name).collect()
    }
}
