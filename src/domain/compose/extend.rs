//! Applies `extends`. Owns the search for the service that is extended, here or in another file,
//! and the detection of cycles. Face: `Loader::extend_services`. Never takes more than the one
//! service.

use super::interpolate::Variables;
use super::keys::SERVICE_SHAPE;
use super::load::{Halt, Loader};
use super::merge;
use super::paths::{absolute, parent};
use crate::base::suggest::did_you_mean;
use crate::base::yaml::{Map, Node, Value};

/// Where services are looked up: those of one document.
struct Place<'a> {
    services: &'a Map,
    file: &'a str,
    base: &'a str,
}

impl Loader<'_> {
    /// Replaces every service that extends another one by the result.
    pub(super) fn extend_services(
        &mut self,
        tree: &mut Node,
        file: &str,
        base: &str,
        variables: &Variables,
    ) -> Result<(), Halt> {
        let Value::Map(document) = &mut tree.value else { return Ok(()) };
        let Some(services) = document.get_mut("services") else { return Ok(()) };
        let Value::Map(services) = &mut services.value else { return Ok(()) };
        let original = services.clone();
        let place = Place { services: &original, file, base };
        for (name, service) in &mut services.0 {
            let extends = service.as_map().is_some_and(|map| map.get("extends").is_some());
            if extends
                && let Some(merged) =
                    self.extended(&name.text, &place, variables, &mut Vec::new())?
            {
                *service = merged;
            }
        }
        Ok(())
    }

    /// A service with everything it extends below it. `None` after a reported problem.
    fn extended(
        &mut self,
        name: &str,
        place: &Place<'_>,
        variables: &Variables,
        chain: &mut Vec<(String, String)>,
    ) -> Result<Option<Node>, Halt> {
        let Some(mut service) = place.services.get(name).cloned() else { return Ok(None) };
        let Value::Map(map) = &mut service.value else { return Ok(Some(service)) };
        let Some((_, extends)) = map.remove("extends") else { return Ok(Some(service)) };
        let link = (place.file.to_owned(), name.to_owned());
        if chain.contains(&link) {
            let names: Vec<&str> = chain.iter().map(|(_, name)| name.as_str()).collect();
            let message = format!("`extends` runs in a circle: {} → {name}", names.join(" → "));
            self.problems.push(extends.problem("compose.extends_cycle", message));
            return Ok(None);
        }
        chain.push(link);
        let base = self.base_of(&extends, place, variables, chain)?;
        chain.pop();
        Ok(base.and_then(|base| merge::merge(base, service, &SERVICE_SHAPE)))
    }

    fn base_of(
        &mut self,
        extends: &Node,
        place: &Place<'_>,
        variables: &Variables,
        chain: &mut Vec<(String, String)>,
    ) -> Result<Option<Node>, Halt> {
        let field = |key: &str| Some(extends.as_map()?.get(key)?.as_scalar()?.text.clone());
        let Some(target) = field("service") else {
            let message = "`extends` needs `service`";
            self.problems.push(extends.problem("compose.missing_key", message));
            return Ok(None);
        };
        let Some(file) = field("file") else {
            return self.base_in(extends, &target, place, variables, chain);
        };
        let path = absolute(place.base, &file, variables.get("HOME"));
        let found = self.bytes(&path, Some(&extends.mark)).map(|_| ());
        if self.or_pass_over(found)?.is_none() {
            return Ok(None);
        }
        let base = parent(&path).to_owned();
        let mut services = Map::default();
        for document in self.documents(std::slice::from_ref(&path))? {
            let tree = self.read(document.tree, &base, variables);
            if let Some(Value::Map(mut map)) = tree.map(|tree| tree.value)
                && let Some(Value::Map(found)) = map.remove("services").map(|(_, n)| n.value)
            {
                found.0.into_iter().for_each(|(key, node)| services.insert(key, node));
            }
        }
        let place = Place { services: &services, file: &path, base: &base };
        self.base_in(extends, &target, &place, variables, chain)
    }

    fn base_in(
        &mut self,
        extends: &Node,
        target: &str,
        place: &Place<'_>,
        variables: &Variables,
        chain: &mut Vec<(String, String)>,
    ) -> Result<Option<Node>, Halt> {
        if place.services.get(target).is_none() {
            let names: Vec<&str> =
                place.services.0.iter().map(|(key, _)| key.text.as_str()).collect();
            let file = self.shown(place.file);
            let message = format!("cannot extend `{target}`: `{file}` has no such service");
            let problem = extends.problem("compose.extends_unknown", message);
            self.problems.push(problem.help(did_you_mean(target, &names)));
            return Ok(None);
        }
        self.extended(target, place, variables, chain)
    }
}
