-- Triggers take the role app_admin from this release on. Those of editors go on: they become the
-- triggers of the app's first app_admin who can sign in, else of the owner. What had stopped before
-- stays stopped. The entries of the audit log have the trigger's id, and as time 0, in the place of
-- which the program puts the time of the upgrade.
INSERT INTO audit (id, app_id, principal, principal_name, key_prefix, address, action, resource, resource_id,
    resource_name, before, after, created_at)
SELECT t.id, t.app_id, 'upgrade', 'upgrade', NULL, '', 'update_trigger', 'trigger', t.id,
    t.kind, '{"registered_by":"' || t.registered_by_principal || '"}',
    '{"registered_by":"' || COALESCE((
        SELECT 'user:' || m.user_id FROM members m JOIN users a ON a.id = m.user_id
        WHERE m.app_id = t.app_id AND m.role = 'app_admin' AND a.disabled_at IS NULL
        ORDER BY m.created_at, m.user_id LIMIT 1
    ), 'owner') || '"}', 0
FROM triggers t
JOIN users u ON t.registered_by_principal = 'user:' || u.id
JOIN members r ON r.app_id = t.app_id AND r.user_id = u.id
WHERE u.role = 'member' AND u.disabled_at IS NULL AND r.role = 'editor';

UPDATE triggers SET registered_by_principal = COALESCE((
    SELECT 'user:' || m.user_id FROM members m JOIN users a ON a.id = m.user_id
    WHERE m.app_id = triggers.app_id AND m.role = 'app_admin' AND a.disabled_at IS NULL
    ORDER BY m.created_at, m.user_id LIMIT 1
), 'owner')
WHERE id IN (SELECT resource_id FROM audit WHERE principal = 'upgrade' AND created_at = 0);

-- A release before this one lets editors make triggers.
INSERT INTO schema (version, min_version) VALUES (11, 11);
