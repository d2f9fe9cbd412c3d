//! Reads the cases of services and what checks say of them.

// The library's own tests and those of containers include this file, each with the library's name for them.
use super::{Node, Parameters, parse};

/// The cases of one check.
pub(super) struct Table {
    /// Its id.
    pub(super) check: String,
    /// What they show.
    pub(super) about: String,
    /// What the check is given.
    pub(super) parameters: Parameters,
    /// Service `web`, the beginning of the verdict, what stands beside the service.
    pub(super) cases: Vec<(String, String, String)>,
}

fn text(node: &Node) -> String {
    node.as_scalar().unwrap_or_else(|| panic!("a text at {:?}", node.mark.location())).text.clone()
}

/// All cases.
pub(super) fn tables() -> Vec<Table> {
    let root = parse("cases.yaml", include_bytes!("cases.yaml")).unwrap();
    let mut tables = Vec::new();
    for node in root.as_seq().unwrap() {
        let of = |name: &str| node.as_map().unwrap().get(name);
        let mut parameters = Parameters::default();
        for (key, value) in of("parameters").iter().flat_map(|it| &it.as_map().unwrap().0) {
            parameters.set(&key.text, &value.value).unwrap();
        }
        let case = |node: &Node| {
            let parts = node.as_seq().unwrap();
            let beside = parts.get(2).map(text).unwrap_or_default();
            (text(&parts[0]), text(&parts[1]), beside)
        };
        let cases = of("cases").unwrap().as_seq().unwrap().iter().map(case).collect();
        let (check, about) = (text(of("check").unwrap()), text(of("about").unwrap()));
        tables.push(Table { check, about, parameters, cases });
    }
    tables
}
