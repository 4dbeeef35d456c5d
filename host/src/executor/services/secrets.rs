//! `secrets::*`: values that the app's scripts can read and the API never shows.

use picloud_shared::calls::HostResult;
use picloud_shared::calls::secrets::Get;

use super::count_call;
use crate::events::rules::{NAME_BYTES_MAX, check_name};
use crate::executor::entries::{context, failed, unavailable};
use crate::executor::sandbox::Sandbox;
use crate::secrets;

/// Returns the value of a secret. It stays the same within a run and the runs it calls.
pub(in crate::executor) async fn get(sandbox: &mut Sandbox, get: Get) -> HostResult<String> {
    count_call(sandbox)?;
    let Get { name } = get;
    check_name("name", "a secret's name", &name, NAME_BYTES_MAX)?;
    let context = context(sandbox)?;
    if let Some(value) = context.revealed.find(&name) {
        return Ok(value.reveal().to_owned());
    }
    match context.platform.secrets.reveal(&context.app_id, &name).await {
        Ok(Some(value)) => {
            let text = value.reveal().to_owned();
            context.revealed.add(name, value);
            Ok(text)
        }
        Ok(None) => Err(failed(format!("there is no secret {name:?}"))),
        Err(secrets::Error::Store(error)) => Err(unavailable(sandbox, &error)),
        Err(error @ secrets::Error::Sealed { .. }) => {
            tracing::error!(%error, "a run could not read a secret");
            Err(failed(format!("the secret {name:?} cannot be opened; the server's log says why")))
        }
    }
}
