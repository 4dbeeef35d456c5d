import type { components } from './schema';

/** What the server says of a request that it did not carry out. */
export class ApiError extends Error {
	/** The status of the answer; 0 when there was none. */
	readonly status: number;
	/** What happened, for programs: `script_not_found`. */
	readonly code: string;
	/** What else the server says, by name: `line` and `column` of a source, `field` … */
	readonly details: Readonly<Record<string, unknown>>;

	constructor(status: number, code: string, message: string, details = {}) {
		super(message);
		this.name = 'ApiError';
		this.status = status;
		this.code = code;
		this.details = details;
	}

	/** Reads an answer's body: `{"error": {"code", "message", …}}`. */
	static of(status: number, body: unknown): ApiError {
		const error = (body as Partial<components['schemas']['ErrorBody']> | undefined)?.error;
		if (typeof error?.message !== 'string') {
			return new ApiError(status, 'unknown', `The server answered ${status}.`);
		}
		const { code, message, ...details } = error;
		return new ApiError(status, String(code), message, details);
	}

	/** For a request that brought no answer at all. */
	static unreachable(): ApiError {
		return new ApiError(0, 'unreachable', 'The server cannot be reached. Is it running?');
	}

	/** A detail that is a number, if it is there. */
	number(name: string): number | undefined {
		const value = this.details[name];
		return typeof value === 'number' ? value : undefined;
	}
}

/** Whatever was thrown, as something to show. */
export function asApiError(thrown: unknown): ApiError {
	if (thrown instanceof ApiError) return thrown;
	const message = thrown instanceof Error ? thrown.message : String(thrown);
	return new ApiError(0, 'unknown', message);
}
