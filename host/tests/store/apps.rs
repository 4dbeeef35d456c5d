//! Apps.

use picloud::store::{AppChange, AppId, Conflict, Error, Page, Resource};

use crate::fixtures::{ALL, app, domain_of, id, new_app, now, open, route, script};
use crate::on_both_databases;

on_both_databases! {
    async fn an_app_is_found_by_its_id_and_by_its_name(database) {
        let store = open(database).await;
        let new = new_app("shop");
        let made = store.insert_app(new.clone()).await.unwrap();
        assert_eq!(
            (&made.id, made.created_at, made.updated_at),
            (&new.id, new.created_at, new.created_at)
        );
        assert_eq!(store.find_app(&made.id).await.unwrap(), made);
        assert_eq!(store.find_app_by_name("shop").await.unwrap(), made);
        let missing = Error::NotFound(Resource::App).to_string();
        assert_eq!(
            store
                .find_app(&id::<AppId>())
                .await
                .unwrap_err()
                .to_string(),
            missing
        );
        assert_eq!(
            store
                .find_app_by_name("Shop")
                .await
                .unwrap_err()
                .to_string(),
            missing
        );
    }

    async fn two_apps_cannot_have_one_name(database) {
        let store = open(database).await;
        app(&store, "shop").await;
        let other = app(&store, "blog").await;
        let again = store.insert_app(new_app("shop")).await;
        assert!(
            matches!(again, Err(Error::Conflict(Conflict::AppName))),
            "{again:?}"
        );
        let change = AppChange {
            name: Some("shop".into()),
            updated_at: now(),
            ..AppChange::default()
        };
        let renamed = store.update_app(&other.id, change).await;
        assert!(
            matches!(renamed, Err(Error::Conflict(Conflict::AppName))),
            "{renamed:?}"
        );
    }

    async fn a_change_leaves_what_it_does_not_name(database) {
        let store = open(database).await;
        let made = app(&store, "shop").await;
        let at = now();
        let change = AppChange {
            description: Some("Sells".into()),
            updated_at: at,
            name: None,
        };
        let changed = store.update_app(&made.id, change).await.unwrap();
        assert_eq!(
            (changed.name.as_str(), changed.description.as_str()),
            ("shop", "Sells")
        );
        assert_eq!(
            (changed.created_at, changed.updated_at),
            (made.created_at, at)
        );
        assert_eq!(store.find_app(&made.id).await.unwrap(), changed);
        let missing = store.update_app(&id(), AppChange::default()).await;
        assert!(
            matches!(missing, Err(Error::NotFound(Resource::App))),
            "{missing:?}"
        );
    }

    async fn apps_are_listed_newest_first_in_pages(database) {
        let store = open(database).await;
        for name in ["a", "b", "c", "d"] {
            app(&store, name).await;
        }
        let names = async |page| -> Vec<String> {
            store
                .list_apps(page)
                .await
                .unwrap()
                .into_iter()
                .map(|app| app.name)
                .collect()
        };
        assert_eq!(names(ALL).await, ["d", "c", "b", "a"]);
        assert_eq!(
            names(Page {
                limit: 2,
                offset: 1
            })
            .await,
            ["c", "b"]
        );
        assert!(
            names(Page {
                limit: 2,
                offset: 4
            })
            .await
            .is_empty()
        );
    }

    async fn a_deleted_app_takes_its_scripts_routes_and_domains_along(database) {
        let store = open(database).await;
        let doomed = app(&store, "shop").await;
        let kept = app(&store, "blog").await;
        let doomed_script = script(&store, &doomed.id, "hello").await;
        let kept_script = script(&store, &kept.id, "hello").await;
        domain_of(&store, &doomed.id, "shop.example").await;
        store
            .insert_route(route(&doomed_script, "GET", "shop.example", "/"))
            .await
            .unwrap();
        store
            .insert_route(route(&kept_script, "GET", "", "/"))
            .await
            .unwrap();

        store.delete_app(&doomed.id).await.unwrap();

        assert!(store.find_script(&doomed_script.id).await.is_err());
        assert!(
            store
                .find_script_version(&doomed_script.id, 1)
                .await
                .is_err()
        );
        assert!(store.find_domain(&doomed.id, "shop.example").await.is_err());
        let left = store.definitions().await.unwrap();
        assert_eq!(
            (left.scripts.len(), left.routes.len(), left.domains.len()),
            (1, 1, 0)
        );
        let again = store.delete_app(&doomed.id).await;
        assert!(
            matches!(again, Err(Error::NotFound(Resource::App))),
            "{again:?}"
        );
    }
}
