//! `secrets::*`: what the app's scripts know and nobody sees.

use picloud_shared::calls::HostResult;
use picloud_shared::calls::secrets::Get;

use super::count_call;
use crate::executor::entries::{NAME_BYTES_MAX, check_name, failed, scope, unavailable};
use crate::executor::sandbox::Sandbox;
use crate::secrets;

/// The value of a secret. Within a run, and those that it calls, it stays the same.
pub(in crate::executor) async fn get(sandbox: &mut Sandbox, get: Get) -> HostResult<String> {
    count_call(sandbox)?;
    let Get { name } = get;
    check_name("a secret's name", &name, NAME_BYTES_MAX)?;
    let scope = scope(sandbox)?;
    if let Some(value) = scope.revealed.find(&name) {
        return Ok(value.reveal().to_owned());
    }
    match scope.platform.secrets.reveal(&scope.app_id, &name).await {
        Ok(Some(value)) => {
            let text = value.reveal().to_owned();
            scope.revealed.add(name, value);
            Ok(text)
        }
        Ok(None) => Err(failed(format!("there is no secret {name:?}"))),
        Err(secrets::Error::Store(error)) => Err(unavailable(sandbox, &error)),
        Err(error @ secrets::Error::Sealed { .. }) => {
            tracing::error!(%error, "a run was not given a secret");
            Err(failed(format!("the secret {name:?} cannot be opened; the server's log says why")))
        }
    }
}
