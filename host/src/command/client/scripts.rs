//! Finds scripts by name, and their names by id.

use std::collections::HashMap;
use std::ops::ControlFlow;

use picloud::manager::api::Script;

use super::{Client, encode};
use crate::command::{Failure, ScriptAddress};

/// The names of an app's scripts, by id.
pub(in crate::command) struct ScriptNames(HashMap<String, String>);

impl ScriptNames {
    /// Returns the name of a script: the id itself if the script was deleted, `-` without an id.
    pub(in crate::command) fn of<'a>(&'a self, id: Option<&'a str>) -> &'a str {
        id.map_or("-", |id| self.0.get(id).map_or(id, String::as_str))
    }
}

impl Client {
    /// Finds a script by name; `None` if the app does not have it.
    pub(in crate::command) async fn find_script(
        &self,
        address: &ScriptAddress,
    ) -> Result<Option<Script>, Failure> {
        let ScriptAddress { app, script } = address;
        let path = format!("/apps/{}/scripts?name={}", encode(app), encode(script));
        let found = self.list(&path).await?.items.into_iter().next();
        Ok(found.map(|script| script.value))
    }

    /// Returns the id of a script.
    pub(in crate::command) async fn script_id(
        &self,
        address: &ScriptAddress,
    ) -> Result<String, Failure> {
        let ScriptAddress { app, script } = address;
        let found = self.find_script(address).await?.map(|script| script.id);
        found.ok_or_else(|| Failure(format!("the app {app} has no script {script}")))
    }

    /// Returns the id of the script with this name in the app, if a name is given.
    pub(in crate::command) async fn script_id_in(
        &self,
        app: &str,
        script: Option<String>,
    ) -> Result<Option<String>, Failure> {
        let Some(script) = script else { return Ok(None) };
        self.script_id(&ScriptAddress { app: app.to_owned(), script }).await.map(Some)
    }

    /// Returns the names of an app's scripts, by id.
    pub(in crate::command) async fn script_names(&self, app: &str) -> Result<ScriptNames, Failure> {
        let mut names = HashMap::new();
        let path = format!("/apps/{}/scripts", encode(app));
        self.visit(&path, |script: Script| {
            names.insert(script.id, script.name);
            ControlFlow::<()>::Continue(())
        })
        .await?;
        Ok(ScriptNames(names))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_without_a_name_is_shown_by_its_id() {
        let names = ScriptNames([("7".to_owned(), "hello".to_owned())].into());
        assert_eq!((names.of(Some("7")), names.of(Some("8")), names.of(None)), ("hello", "8", "-"));
    }
}
