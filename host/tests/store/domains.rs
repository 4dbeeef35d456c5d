//! Domains.

use picloud::store::{AppId, Conflict, DOMAINS_MAX, Error, Resource};

use crate::fixtures::{ALL, app, domain_of, id, new_claim, open, route, script};
use crate::on_both_databases;

on_both_databases! {
    async fn a_domain_belongs_to_the_app_that_verified_it_first(database) {
        let store = open(database).await;
        let shop = app(&store, "shop").await;
        let blog = app(&store, "blog").await;
        // A claim does not block other apps.
        for app in [&shop, &blog] {
            let claimed = store.claim_domain(new_claim(&app.id, "www.example")).await.unwrap();
            assert!(claimed.token.is_some() && claimed.verified_at.is_none(), "{claimed:?}");
            let again = store.claim_domain(new_claim(&app.id, "www.example")).await;
            assert!(matches!(again, Err(Error::Conflict(Conflict::Domain))), "{again:?}");
        }
        let verified = store.verify_domain(&shop.id, "www.example", "dns", 7).await.unwrap();
        assert_eq!((verified.token.as_deref(), verified.verified_at), (None, Some(7)));
        assert_eq!(verified.verified_by.as_deref(), Some("dns"));
        assert_eq!(store.find_domain(&shop.id, "www.example").await.unwrap(), verified);
        let again = store.verify_domain(&shop.id, "www.example", "owner", 8).await.unwrap();
        assert_eq!(again, verified);

        let late = store.verify_domain(&blog.id, "www.example", "dns", 7).await;
        assert!(matches!(late, Err(Error::Conflict(Conflict::Domain))), "{late:?}");
        assert!(store.find_domain(&blog.id, "www.example").await.unwrap().token.is_some());
        let third = app(&store, "third").await;
        let late = store.claim_domain(new_claim(&third.id, "www.example")).await;
        assert!(matches!(late, Err(Error::Conflict(Conflict::Domain))), "{late:?}");
        let orphan = store.claim_domain(new_claim(&id::<AppId>(), "x.example")).await;
        assert!(matches!(orphan, Err(Error::NotFound(Resource::App))), "{orphan:?}");
        assert_eq!(store.definitions().await.unwrap().domains.len(), 1);
    }

    async fn an_app_has_so_many_domains_and_no_more(database) {
        let store = open(database).await;
        let shop = app(&store, "shop").await;
        for number in 0..DOMAINS_MAX {
            let claim = new_claim(&shop.id, &format!("{number}.example"));
            store.claim_domain(claim).await.unwrap();
        }
        store.verify_domain(&shop.id, "0.example", "dns", 1).await.unwrap();
        let full = store.claim_domain(new_claim(&shop.id, "one-more.example")).await;
        assert!(matches!(full, Err(Error::Conflict(Conflict::DomainsMax(DOMAINS_MAX)))), "{full:?}");
        store.delete_domain(&shop.id, "0.example").await.unwrap();
        store.claim_domain(new_claim(&shop.id, "one-more.example")).await.unwrap();
    }

    /// Only PostgreSQL has several nodes; on SQLite there is one.
    async fn each_node_reserves_its_hosts_for_all(database) {
        let store = open(database).await;
        let hosts = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
        store.reserve_hosts("one", &hosts(&["a.example", "b.example"]), 100, 0).await.unwrap();
        assert_eq!(store.list_reserved_hosts().await.unwrap(), ["a.example", "b.example"]);
        let revision = store.revision();
        store.reserve_hosts("two", &hosts(&["b.example", "c.example"]), 200, 50).await.unwrap();
        assert!(store.revision() > revision, "every node reads the definitions again");
        let (all, kept) = match store.is_shared() {
            true => (hosts(&["a.example", "b.example", "c.example"]), hosts(&["b.example", "c.example"])),
            false => (hosts(&["b.example", "c.example"]), hosts(&["b.example", "c.example"])),
        };
        assert_eq!(store.list_reserved_hosts().await.unwrap(), all);
        assert_eq!(store.definitions().await.unwrap().reserved_hosts.len(), all.len());
        // The first node is down for too long.
        store.reserve_hosts("two", &kept, 300, 101).await.unwrap();
        assert_eq!(store.list_reserved_hosts().await.unwrap(), kept);
    }

    async fn domains_are_listed_by_app_newest_first(database) {
        let store = open(database).await;
        let shop = app(&store, "shop").await;
        let blog = app(&store, "blog").await;
        let first = domain_of(&store, &shop.id, "b.example").await;
        domain_of(&store, &blog.id, "c.example").await;
        let last = domain_of(&store, &shop.id, "a.example").await;
        assert_eq!(store.list_domains(&shop.id).await.unwrap(), [last, first]);
    }

    async fn a_domain_given_up_takes_only_its_own_routes_along(database) {
        let store = open(database).await;
        let shop = app(&store, "shop").await;
        let blog = app(&store, "blog").await;
        let hello = script(&store, &shop.id, "hello").await;
        domain_of(&store, &shop.id, "www.example").await;
        store
            .insert_route(route(&hello, "GET", "www.example", "/"))
            .await
            .unwrap();
        let kept = store
            .insert_route(route(&hello, "GET", "", "/"))
            .await
            .unwrap();

        let foreign = store.delete_domain(&blog.id, "www.example").await;
        assert!(
            matches!(foreign, Err(Error::NotFound(Resource::Domain))),
            "{foreign:?}"
        );
        assert_eq!(store.list_routes(&shop.id, ALL).await.unwrap().len(), 2);

        store.delete_domain(&shop.id, "www.example").await.unwrap();
        assert_eq!(store.list_routes(&shop.id, ALL).await.unwrap(), [kept]);
        assert!(matches!(
            store.find_domain(&shop.id, "www.example").await,
            Err(Error::NotFound(Resource::Domain))
        ));
    }
}
