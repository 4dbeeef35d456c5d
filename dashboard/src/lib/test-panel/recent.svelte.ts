import type { TestRequest } from './request';

/** Maximum number of stored requests per script. */
export const RECENT_MAX = 20;
/** Maximum length of a stored body, in characters: a browser stores 5 MB in all. */
const BODY_CHARS_MAX = 32_768;
/** Headers with credentials, whose values are not stored. */
const SECRET = /^(authorization|proxy-authorization|cookie|x-api-key)$/i;

/**
 * The last test requests of a script, stored only in this browser.
 *
 * Invariant: they contain nothing of the session, no file, and no value of a header with
 * credentials.
 */
export class Recent {
	items = $state.raw<TestRequest[]>([]);
	#key: string;

	constructor(scriptId: string) {
		this.#key = `picloud-test-requests:${scriptId}`;
		try {
			const kept: unknown = JSON.parse(localStorage.getItem(this.#key) ?? '[]');
			if (Array.isArray(kept)) this.items = kept as TestRequest[];
		} catch {
			// Unreadable data is ignored.
		}
	}

	/** Adds a request as the first one. An equal request moves to the front. */
	add(request: TestRequest): void {
		const kept = keepable(request);
		const text = JSON.stringify(kept);
		const others = this.items.filter((item) => JSON.stringify(item) !== text);
		this.items = [kept, ...others].slice(0, RECENT_MAX);
		this.#write();
	}

	clear(): void {
		this.items = [];
		localStorage.removeItem(this.#key);
	}

	#write(): void {
		try {
			localStorage.setItem(this.#key, JSON.stringify(this.items));
		} catch {
			// The browser's storage is full. The requests stay until the user leaves the page.
		}
	}
}

/** Returns a request without the parts that are not stored. */
export function keepable(request: TestRequest): TestRequest {
	const { body } = request;
	const headers = request.headers.map(({ name, value }) => ({
		name,
		value: SECRET.test(name.trim()) ? '' : value
	}));
	if (body.kind === 'file') {
		return { ...request, headers, body: { kind: 'file', name: body.name, type: body.type } };
	}
	if ('text' in body && body.text.length > BODY_CHARS_MAX) {
		return { ...request, headers, body: { ...body, text: '' } };
	}
	return { ...request, headers, body: { ...body } };
}
