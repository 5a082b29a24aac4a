import { endpointOf } from './endpoint.js';

/** The most templates of the application that get a label of their own. */
const MAX_TEMPLATES = 100;
const MAX_LENGTH = 200;
/** Parameters, and segments that cannot be the id of a user, room, alias or event. */
const SEGMENT = /^(\{\w+\}|[\w.~-]*)$/;

/**
 * The labels of the endpoints of one manager. Endpoints that the library knows have its own template; others have the
 * template of `request()`. A template that contains an id, or is one too many, has the label `other`.
 */
export class EndpointLabels {
  readonly #templates = new Set<string>();

  /** @param request - its path, and the template if the application passed one */
  labelOf({ path, template }: { readonly path: string; readonly template?: string | undefined }): string {
    const known = endpointOf(path);
    if (known !== 'other' || template === undefined) return known;
    if (this.#templates.has(template)) return template;
    const isUsable = template.length <= MAX_LENGTH && template.split('/').every((segment) => SEGMENT.test(segment));
    if (!isUsable || this.#templates.size >= MAX_TEMPLATES) return 'other';
    this.#templates.add(template);
    return template;
  }
}
