import { ApiError } from './error';

/**
 * The path, if a browser sends it as it is. A URL cannot have `.` or `..` as a part of its path,
 * however that is encoded: it becomes the URL of something else, such as all events of an app.
 */
export function exactPath(path: string): string {
	const sent = new URL(path, 'http://server').pathname;
	if (sent === path.split('?')[0]) return path;
	const message =
		'A name that is “.” or “..” cannot be a part of a URL. Use a script to read or change it.';
	throw new ApiError(0, 'name_has_no_url', message);
}
