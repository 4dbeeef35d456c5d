import { describe, expect, it } from 'vitest';
import type { Schema } from '$lib/api/client';
import { formOf, policyOf } from './policy';

const route = (policy: Partial<Schema['Route']>): Schema['Route'] => ({
	id: 'id',
	script_id: 'script',
	method: 'GET',
	path: '/',
	delivery: 'sync',
	auth: { mode: 'none' },
	created_at: 0,
	...policy
});

describe('the policy of a route', () => {
	it('is empty for an empty form', () => {
		expect(policyOf(formOf(undefined), undefined)).toEqual({
			auth: { mode: 'none' },
			rate_limit: null,
			concurrency_max: null,
			cors: null
		});
	});

	it('survives the conversion to a form and back', () => {
		const policies: Partial<Schema['Route']>[] = [
			{ auth: { mode: 'key', secrets: ['a', 'b'], header: 'x-gitlab-token' } },
			{ auth: { mode: 'basic', user: 'ada', secrets: ['a'] } },
			{ auth: { mode: 'hmac', preset: 'github', secrets: ['a'] } },
			{
				rate_limit: { requests: 10, per_s: 60, by: 'address' },
				concurrency_max: 5,
				cors: { origins: ['https://a.example'], credentials: true, headers: ['x-a'], max_age_s: 5 }
			}
		];
		for (const policy of policies) {
			const before = route(policy);
			const { auth, rate_limit, concurrency_max, cors } = before;
			expect(policyOf(formOf(before), before)).toEqual({
				auth,
				rate_limit: rate_limit ?? null,
				concurrency_max: concurrency_max ?? null,
				cors: cors ?? null
			});
		}
	});

	it('reads names separated by commas and spaces', () => {
		const form = { ...formOf(undefined), mode: 'key' as const, secrets: ' a, b  c ' };
		expect(policyOf(form, undefined).auth).toEqual({ mode: 'key', secrets: ['a', 'b', 'c'] });
	});
});
