//! Scripts and their versions.

use picloud::store::{
    AppId, Conflict, Error, Page, Resource, ScriptChange, ScriptId, ScriptLimits,
};

use crate::fixtures::{ALL, app, id, new_script, now, open, route, script, source};
use crate::on_both_databases;

/// Returns a change of only the source.
fn new_version(text: &str) -> ScriptChange {
    ScriptChange { source: Some(source(text)), updated_at: now(), ..ScriptChange::default() }
}

on_both_databases! {
    async fn a_new_script_runs_its_version_1(database) {
        let store = open(database).await;
        let shop = app(&store, "shop").await;
        let mut new = new_script(&shop.id, "hello");
        new.limits = ScriptLimits {
            fuel_max: Some(5),
            memory_bytes_max: None,
            wall_ms_max: Some(7),
        };
        let made = store.insert_script(new.clone()).await.unwrap();
        assert_eq!((made.version, made.limits), (1, new.limits));
        assert_eq!(store.find_script(&made.id).await.unwrap(), made);
        assert_eq!(
            store.find_script_by_name(&shop.id, "hello").await.unwrap(),
            made
        );
        let version = store.find_script_version(&made.id, 1).await.unwrap();
        assert_eq!(
            (version.source, version.version.source_sha256),
            (new.source.text, new.source.sha256)
        );
    }

    async fn a_scripts_name_is_unique_in_its_app_only(database) {
        let store = open(database).await;
        let shop = app(&store, "shop").await;
        let blog = app(&store, "blog").await;
        script(&store, &shop.id, "hello").await;
        script(&store, &blog.id, "hello").await;
        let other = script(&store, &shop.id, "bye").await;
        let again = store.insert_script(new_script(&shop.id, "hello")).await;
        assert!(
            matches!(again, Err(Error::Conflict(Conflict::ScriptName))),
            "{again:?}"
        );
        let change = ScriptChange {
            name: Some("hello".into()),
            ..new_version("2")
        };
        let renamed = store.update_script(&other.id, change).await;
        assert!(
            matches!(renamed, Err(Error::Conflict(Conflict::ScriptName))),
            "{renamed:?}"
        );
        assert_eq!(store.find_script(&other.id).await.unwrap().version, 1);
        let orphan = store
            .insert_script(new_script(&id::<AppId>(), "hello"))
            .await;
        assert!(
            matches!(orphan, Err(Error::NotFound(Resource::App))),
            "{orphan:?}"
        );
    }

    async fn a_new_source_is_a_new_version_and_the_old_one_stays(database) {
        let store = open(database).await;
        let shop = app(&store, "shop").await;
        let made = script(&store, &shop.id, "hello").await;
        let limits = ScriptLimits {
            fuel_max: Some(9),
            ..ScriptLimits::default()
        };
        let change = ScriptChange {
            limits: Some(limits),
            ..new_version("2")
        };
        let changed = store.update_script(&made.id, change).await.unwrap();
        assert_eq!((changed.version, changed.limits), (2, limits));
        assert_eq!(
            store.find_script_version(&made.id, 1).await.unwrap().source,
            "1"
        );
        let second = store.find_script_version(&made.id, 2).await.unwrap();
        assert_eq!(
            (second.source.as_str(), second.version.created_at),
            ("2", changed.updated_at)
        );
    }

    async fn a_change_without_a_source_makes_no_version(database) {
        let store = open(database).await;
        let shop = app(&store, "shop").await;
        let made = script(&store, &shop.id, "hello").await;
        let limits = ScriptLimits {
            wall_ms_max: Some(1),
            ..ScriptLimits::default()
        };
        let change = ScriptChange {
            limits: Some(limits),
            updated_at: now(),
            ..ScriptChange::default()
        };
        assert_eq!(
            store.update_script(&made.id, change).await.unwrap().version,
            1
        );
        let change = ScriptChange {
            name: Some("hi".into()),
            updated_at: now(),
            ..ScriptChange::default()
        };
        let renamed = store.update_script(&made.id, change).await.unwrap();
        assert_eq!((renamed.name.as_str(), renamed.limits), ("hi", limits));
        assert_eq!(
            store
                .list_script_versions(&made.id, ALL)
                .await
                .unwrap()
                .len(),
            1
        );
    }

    async fn a_change_of_another_version_than_expected_is_refused(database) {
        let store = open(database).await;
        let shop = app(&store, "shop").await;
        let made = script(&store, &shop.id, "hello").await;
        let change = |text, expected| ScriptChange {
            expected_version: Some(expected),
            ..new_version(text)
        };
        assert_eq!(
            store
                .update_script(&made.id, change("2", 1))
                .await
                .unwrap()
                .version,
            2
        );
        let late = store.update_script(&made.id, change("3", 1)).await;
        assert!(
            matches!(late, Err(Error::Conflict(Conflict::Version(2)))),
            "{late:?}"
        );
        assert_eq!(
            store
                .list_script_versions(&made.id, ALL)
                .await
                .unwrap()
                .len(),
            2
        );
        let missing = store.update_script(&id::<ScriptId>(), change("1", 1)).await;
        assert!(
            matches!(missing, Err(Error::NotFound(Resource::Script))),
            "{missing:?}"
        );
    }

    async fn a_rollback_moves_the_pointer_and_numbers_go_on(database) {
        let store = open(database).await;
        let shop = app(&store, "shop").await;
        let made = script(&store, &shop.id, "hello").await;
        store
            .update_script(&made.id, new_version("2"))
            .await
            .unwrap();
        store
            .update_script(&made.id, new_version("3"))
            .await
            .unwrap();

        let back = store.rollback_script(&made.id, 1, now()).await.unwrap();
        assert_eq!(back.version, 1);
        assert_eq!(
            store
                .list_script_versions(&made.id, ALL)
                .await
                .unwrap()
                .len(),
            3
        );

        assert_eq!(
            store
                .update_script(&made.id, new_version("4"))
                .await
                .unwrap()
                .version,
            4
        );
        assert_eq!(
            store.find_script_version(&made.id, 2).await.unwrap().source,
            "2"
        );

        let missing = store.rollback_script(&made.id, 5, now()).await;
        assert!(
            matches!(missing, Err(Error::NotFound(Resource::Version))),
            "{missing:?}"
        );
        let missing = store.rollback_script(&id(), 1, now()).await;
        assert!(
            matches!(missing, Err(Error::NotFound(Resource::Script))),
            "{missing:?}"
        );
        assert_eq!(store.find_script(&made.id).await.unwrap().version, 4);
    }

    async fn scripts_and_versions_are_listed_newest_first_in_pages(database) {
        let store = open(database).await;
        let shop = app(&store, "shop").await;
        let a = script(&store, &shop.id, "a").await;
        let b = script(&store, &shop.id, "b").await;
        let elsewhere = app(&store, "blog").await;
        script(&store, &elsewhere.id, "c").await;
        assert_eq!(
            store.list_scripts(&shop.id, ALL).await.unwrap(),
            [b, a.clone()]
        );
        let second = store
            .list_scripts(
                &shop.id,
                Page {
                    limit: 1,
                    offset: 1,
                },
            )
            .await
            .unwrap();
        assert_eq!(second, std::slice::from_ref(&a));

        for text in ["2", "3", "4"] {
            store.update_script(&a.id, new_version(text)).await.unwrap();
        }
        let page = store
            .list_script_versions(
                &a.id,
                Page {
                    limit: 2,
                    offset: 1,
                },
            )
            .await
            .unwrap();
        assert_eq!(
            page.iter()
                .map(|version| version.version)
                .collect::<Vec<_>>(),
            [3, 2]
        );
    }

    async fn a_deleted_script_takes_its_versions_and_routes_along(database) {
        let store = open(database).await;
        let shop = app(&store, "shop").await;
        let made = script(&store, &shop.id, "hello").await;
        let leads_to_it = store
            .insert_route(route(&made, "GET", "", "/"))
            .await
            .unwrap();
        store.delete_script(&made.id).await.unwrap();
        assert!(matches!(
            store.find_script(&made.id).await,
            Err(Error::NotFound(Resource::Script))
        ));
        assert!(matches!(
            store.find_script_version(&made.id, 1).await,
            Err(Error::NotFound(Resource::Version))
        ));
        assert!(matches!(
            store.find_route(&leads_to_it.id).await,
            Err(Error::NotFound(Resource::Route))
        ));
        let again = store.delete_script(&made.id).await;
        assert!(
            matches!(again, Err(Error::NotFound(Resource::Script))),
            "{again:?}"
        );
    }
}
