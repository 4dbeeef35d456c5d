//! An app to begin with, so that the first `curl` answers.

use super::ControlPlane;
use super::scripts::{CreateScript, create};
use crate::error::Result;
use crate::store::{self, NewApp};

/// The app's name and its script's.
const APP: &str = "sample";
const SCRIPT: &str = "hello";

/// Makes the app `sample` with the script `hello`, which answers at
/// `/x/sample/hello`, unless there is an app of that name.
///
/// # Errors
/// What the store or the executor refuses.
pub async fn create_sample(control_plane: &ControlPlane) -> Result<()> {
    let app = NewApp {
        id: control_plane.clock.new_id().into(),
        name: APP.to_owned(),
        description: "A first app to look at and to change.".to_owned(),
        created_at: control_plane.clock.now_us(),
    };
    let app = match control_plane.store.insert_app(app).await {
        Ok(app) => app,
        // Whatever its owner has made of it stays.
        Err(store::Error::Conflict(_)) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    let script = CreateScript {
        name: SCRIPT.to_owned(),
        source: include_str!("sample/hello.rhai").to_owned(),
        description: "Greets who is named in the query.".to_owned(),
        limits: Default::default(),
        endpoint_enabled: None,
    };
    create(control_plane, None, &app, script).await.map(drop)
}
