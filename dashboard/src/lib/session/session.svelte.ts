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
 * Invariant: no password and no cookie stays in the page's reach. A password is sent once,
 * to be exchanged for a cookie that only the browser sees.
 */
type State = 'unknown' | 'signedOut' | 'signedIn' | 'expired';

class Session {
	state = $state<State>('unknown');
	info = $state.raw<SessionInfo>();

	#waiting: ((again: boolean) => void)[] = [];
	#onend: (() => void)[] = [];

	/** What a request that changes something must bring. */
	get csrfToken(): string | undefined {
		return this.info?.csrf_token ?? undefined;
	}

	/** Asks the server who is signed in, and waits for one that does not answer. */
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

	/** Whether whoever is signed in may do this outside of apps: `instance_read`. */
	may(capability: string): boolean {
		return this.info?.capabilities.includes(capability) ?? false;
	}

	/** Exchanges a password for a session; throws an {@link ApiError} when it is refused. */
	signIn(name: string, password: string): Promise<void> {
		return this.#exchange('/api/v1/auth/login', { name, password });
	}

	/** Chooses a password by an invitation, and begins a session with it. */
	acceptInvitation(token: string, password: string): Promise<void> {
		return this.#exchange('/api/v1/auth/invitation/accept', { token, password });
	}

	/** Goes on with a session that an answer has brought: a changed password ends the old. */
	renew(info: SessionInfo): void {
		this.#begin(info);
	}

	/** Ends the session, here and on the server. */
	async signOut(): Promise<void> {
		const headers = this.csrfToken ? { 'X-CSRF-Token': this.csrfToken } : undefined;
		await this.#ask('/api/v1/auth/logout', { method: 'POST', headers });
		this.ended();
	}

	/** Calls back when a session is over for good. */
	onend(callback: () => void): void {
		this.#onend.push(callback);
	}

	/** The session is over, and nobody wants to go on with it. */
	ended(): void {
		for (const callback of this.#onend) callback();
		this.info = undefined;
		this.state = 'signedOut';
		this.#wake(false);
	}

	/**
	 * Waits until somebody has signed in again, after an answer that the session is over.
	 * False when there was no session to go on with.
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
		// Another user sees other things.
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
