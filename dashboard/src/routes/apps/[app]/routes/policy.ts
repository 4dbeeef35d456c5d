// The policy of a route, converted between the form and the API.

import type { Schema } from '$lib/api/client';

/** The supported signature schemes. */
export const PRESETS = ['standard_webhooks', 'github', 'stripe', 'slack', 'shopify'] as const;

/** How the requests of a rate limit are counted. */
export const COUNTED: readonly (readonly [Schema['RateBy'], string])[] = [
	['all', 'together'],
	['address', 'per address']
];

/** The fields of the form, with texts as typed. */
export interface PolicyForm {
	mode: 'none' | 'key' | 'basic' | 'hmac';
	/** Names of secrets, separated by commas or spaces. */
	secrets: string;
	user: string;
	preset: string;
	/** Maximum number of requests; empty for no limit. */
	requests: string;
	perS: string;
	by: Schema['RateBy'];
	concurrency: string;
	/** Origins, separated by commas or spaces; empty if the script decides. */
	origins: string;
	credentials: boolean;
}

type Policy = Pick<Schema['RouteChange'], 'auth' | 'rate_limit' | 'concurrency_max' | 'cors'>;

const words = (text: string) => text.split(/[\s,]+/).filter(Boolean);

/** Returns the form for a route, or for a new one. */
export function formOf(route: Schema['Route'] | undefined): PolicyForm {
	const auth = route?.auth;
	const rate = route?.rate_limit;
	return {
		// An unknown mode: the user has to choose again. Until then the route refuses all callers.
		mode: auth?.mode === 'unknown' ? 'key' : (auth?.mode ?? 'none'),
		secrets: auth && 'secrets' in auth ? auth.secrets.join(', ') : '',
		user: auth?.mode === 'basic' ? auth.user : '',
		preset: auth?.mode === 'hmac' ? (auth.preset ?? 'custom') : 'standard_webhooks',
		requests: rate ? String(rate.requests) : '',
		perS: rate ? String(rate.per_s ?? 1) : '60',
		by: rate?.by ?? 'all',
		concurrency: route?.concurrency_max ? String(route.concurrency_max) : '',
		origins: route?.cors?.origins.join(' ') ?? '',
		credentials: route?.cors?.credentials ?? false
	};
}

/** Converts the form for the API. Settings without a field keep their values of `before`. */
export function policyOf(form: PolicyForm, before: Schema['Route'] | undefined): Policy {
	const origins = words(form.origins);
	const cors = { ...before?.cors, origins, credentials: form.credentials };
	return {
		auth: authOf(form, before?.auth),
		rate_limit:
			form.requests === ''
				? null
				: {
						requests: Number(form.requests),
						per_s: Number(form.perS),
						by: form.by
					},
		concurrency_max: form.concurrency === '' ? null : Number(form.concurrency),
		cors: origins.length === 0 ? null : cors
	};
}

function authOf(form: PolicyForm, before: Schema['RouteAuth'] | undefined): Schema['RouteAuth'] {
	const secrets = words(form.secrets);
	switch (form.mode) {
		case 'none':
			return { mode: 'none' };
		case 'key': {
			const header = before?.mode === 'key' ? before.header : undefined;
			return { mode: 'key', secrets, ...(header ? { header } : {}) };
		}
		case 'basic':
			return { mode: 'basic', user: form.user, secrets };
		case 'hmac':
			if (form.preset === 'custom' && before?.mode === 'hmac') return { ...before, secrets };
			return { mode: 'hmac', preset: form.preset as Schema['SignaturePreset'], secrets };
	}
}
