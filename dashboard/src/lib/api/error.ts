import type { components } from './schema';

/** Why a request failed. */
export class ApiError extends Error {
	/** The status of the response; 0 without a response. */
	readonly status: number;
	/** The code of the error, for programs: `script_not_found`. */
	readonly code: string;
	/** Further details by name: `line` and `column` of a source, `field` … */
	readonly details: Readonly<Record<string, unknown>>;

	constructor(status: number, code: string, message: string, details = {}) {
		super(message);
		this.name = 'ApiError';
		this.status = status;
		this.code = code;
		this.details = details;
	}

	/** Reads the body of a response: `{"error": {"code", "message", …}}`. */
	static of(status: number, body: unknown): ApiError {
		const error = (body as Partial<components['schemas']['ErrorBody']> | undefined)?.error;
		if (typeof error?.message !== 'string') {
			return new ApiError(status, 'unknown', `The server responded with status ${status}.`);
		}
		const { code, message, ...details } = error;
		return new ApiError(status, String(code), message, details);
	}

	/** The error of a request that got no response. */
	static unreachable(): ApiError {
		return new ApiError(0, 'unreachable', 'The server cannot be reached. Is it running?');
	}

	/** Returns a detail if it is a number. */
	number(name: string): number | undefined {
		const value = this.details[name];
		return typeof value === 'number' ? value : undefined;
	}
}

/** Converts anything that was thrown. */
export function asApiError(thrown: unknown): ApiError {
	if (thrown instanceof ApiError) return thrown;
	const message = thrown instanceof Error ? thrown.message : String(thrown);
	return new ApiError(0, 'unknown', message);
}
