import { ApiError } from './error';

/**
 * Returns the path if a browser sends it unchanged; throws an {@link ApiError} otherwise. A browser
 * removes `.` and `..`, even if encoded. The result would be the URL of another resource, such as
 * all events of an app.
 */
export function exactPath(path: string): string {
	const sent = new URL(path, 'http://server').pathname;
	if (sent === path.split('?')[0]) return path;
	const message =
		'A name that is “.” or “..” cannot be a part of a URL. Use a script to read or change it.';
	throw new ApiError(0, 'name_has_no_url', message);
}
