//! A sample app, so that the first `curl` gets a response.

use super::ControlPlane;
use super::scripts::{CreateScript, create};
use crate::error::Result;
use crate::store::{self, NewApp};

/// The name of the app, and the name of its script.
const APP: &str = "sample";
const SCRIPT: &str = "hello";

/// Creates the app `sample` with the script `hello`, which answers at `/x/sample/hello`, unless an
/// app with that name exists.
///
/// # Errors
/// An error of the store or the executor.
pub async fn create_sample(control_plane: &ControlPlane) -> Result<()> {
    let app = NewApp {
        id: control_plane.clock.new_id().into(),
        name: APP.to_owned(),
        description: "A sample app to read and change.".to_owned(),
        created_at: control_plane.clock.now_us(),
    };
    let app = match control_plane.store.insert_app(app).await {
        Ok(app) => app,
        // The owner's changes to the sample are kept.
        Err(store::Error::Conflict(_)) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    let script = CreateScript {
        name: SCRIPT.to_owned(),
        source: include_str!("sample/hello.rhai").to_owned(),
        description: "Greets the name given in the query.".to_owned(),
        limits: Default::default(),
        endpoint_enabled: None,
    };
    create(control_plane, None, &app, script).await.map(drop)
}
