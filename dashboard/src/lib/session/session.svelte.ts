import { connection } from '$lib/api/connection.svelte';
import { ApiError } from '$lib/api/error';
import type { components } from '$lib/api/schema';

type SessionInfo = components['schemas']['Session'];

/**
 * Who is signed in.
 *
 * ```text
 *  unknown ─▶ signedOut ◀─▶ signedIn ─▶ expired ─▶ signedIn (same page, nothing lost)
 * ```
 *
 * Invariant: the page stores no password and cannot read the cookie. It sends a password once, in
 * exchange for a cookie that only the browser can read.
 */
type State = 'unknown' | 'signedOut' | 'signedIn' | 'expired';

class Session {
	state = $state<State>('unknown');
	info = $state.raw<SessionInfo>();

	#waiting: ((again: boolean) => void)[] = [];
	#onend: (() => void)[] = [];

	/** The token that every request with a side effect must send. */
	get csrfToken(): string | undefined {
		return this.info?.csrf_token ?? undefined;
	}

	/** Asks the server who is signed in. Waits while the server is unreachable. */
	async find(): Promise<void> {
		for (;;) {
			const answer = await fetch('/api/v1/auth/me').catch(() => undefined);
			if (answer?.ok) return this.#begin(await answer.json());
			if (answer && answer.status < 500) {
				this.state = 'signedOut';
				return;
			}
			await connection.returned();
		}
	}

	/** Whether the signed-in user has a capability of the instance: `instance_read`. */
	may(capability: string): boolean {
		return this.info?.capabilities.includes(capability) ?? false;
	}

	/** Exchanges a password for a session. Throws an {@link ApiError} if it is refused. */
	signIn(name: string, password: string): Promise<void> {
		return this.#exchange('/api/v1/auth/login', { name, password });
	}

	/** Sets the password of an invited user, and starts a session. */
	acceptInvitation(token: string, password: string): Promise<void> {
		return this.#exchange('/api/v1/auth/invitation/accept', { token, password });
	}

	/** Continues with a new session, because a changed password ends the old one. */
	renew(info: SessionInfo): void {
		this.#begin(info);
	}

	/** Ends the session in this page and on the server. */
	async signOut(): Promise<void> {
		const headers = this.csrfToken ? { 'X-CSRF-Token': this.csrfToken } : undefined;
		await this.#ask('/api/v1/auth/logout', { method: 'POST', headers });
		this.ended();
	}

	/** Registers a callback for the end of a session. */
	onend(callback: () => void): void {
		this.#onend.push(callback);
	}

	/** Ends the session in this page. */
	ended(): void {
		for (const callback of this.#onend) callback();
		this.info = undefined;
		this.state = 'signedOut';
		this.#wake(false);
	}

	/**
	 * Waits until the user has signed in again, after a response that the session has expired.
	 * Resolves to false if there was no session, or if the user signs out.
	 */
	signedInAgain(): Promise<boolean> {
		if (this.state !== 'signedIn' && this.state !== 'expired') return Promise.resolve(false);
		this.state = 'expired';
		return new Promise((resolve) => this.#waiting.push(resolve));
	}

	async #exchange(path: string, sent: object): Promise<void> {
		const answer = await this.#ask(path, {
			method: 'POST',
			headers: { 'content-type': 'application/json' },
			body: JSON.stringify(sent)
		});
		const body = await answer.json().catch(() => undefined);
		if (!answer.ok) throw ApiError.of(answer.status, body);
		this.#begin(body);
		this.#wake(true);
	}

	#begin(info: SessionInfo): void {
		// Another user has access to other data.
		if (this.info && this.info.principal.name !== info.principal.name) {
			for (const callback of this.#onend) callback();
		}
		this.info = info;
		this.state = 'signedIn';
	}

	#wake(again: boolean): void {
		for (const resolve of this.#waiting.splice(0)) resolve(again);
	}

	async #ask(path: string, init?: RequestInit): Promise<Response> {
		try {
			return await fetch(path, init);
		} catch {
			throw ApiError.unreachable();
		}
	}
}

/** The page's session. */
export const session = new Session();
