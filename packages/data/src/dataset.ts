import { UserError } from '@chameleon/core';
import { mapBounded } from './bounded.js';
import { type ClassFolder, type FolderTree, readClassFolders } from './class-folders.js';
import { PictureError, inDataset } from './picture-error.js';
import { type PictureFolder, PictureReader, openFolder, treeOf } from './pictures.js';
import { type SplitMethod, splitPictures } from './split.js';
import { validatePicture } from './validate.js';

export interface Picture {
  /** Relative to the data set's root, with '/' between folders. */
  path: string;
  /** Index into the data set's classes. */
  label: number;
}

/** A file that was left out, and why. */
export interface SkippedFile {
  path: string;
  reason: string;
}

export interface Dataset extends PictureFolder {
  /** Sorted folder names, as in torchvision's `ImageFolder`. */
  classes: string[];
  train: Picture[];
  valid: Picture[];
  split: SplitMethod;
  /** Pictures that can't be used, where the call allowed it. */
  skipped: SkippedFile[];
  /** Files that are not named as pictures are (Thumbs.db, notes.txt); hidden ones aren't counted. */
  otherFiles: number;
}

export interface OpenOptions {
  /** `auto`: `folders` where there are train and valid (val, test) folders, else `article`. */
  split?: SplitMethod | 'auto';
  /** Of each class, where the split is not `folders`. */
  validFraction?: number;
  /** Of the stratified split. */
  seed?: number;
  /** Leaves files out that can't be used, instead of throwing at the first. */
  skipBadImages?: boolean;
  signal?: AbortSignal | undefined;
  onProgress?: (done: number, total: number) => void;
}

/** Files that are checked at the same time. */
const CONCURRENCY = 8;
const VALID_NAMES = ['valid', 'val', 'test'];

/** A folder's class folders before any file was looked into. */
interface Layout {
  split: SplitMethod;
  classes: string[];
  /** Each side's pictures; where the folder is not split yet, all are in `train`. */
  train: Picture[];
  valid: Picture[];
  otherFiles: number;
}

/**
 * Opens a folder of class folders: `root/<class>/…`, or `root/train/<class>/…` and `root/valid/<class>/…`; or the shards
 * that such a folder was packed into, which is the same data set. Every picture is checked by its header, so that a run
 * doesn't meet a bad one in its third hour; one in a shard is read whole, and proved by its digest.
 *
 * @throws {PictureError} for the first file that can't be used, in order, unless `skipBadImages`
 * @throws {UserError} when the folder is missing or no folder, or has fewer than two classes, an empty class, a class for
 * validation alone, or no picture for validation; or when a shard is missing or cut short
 */
export async function openDataset(root: string, options: OpenOptions = {}): Promise<Dataset> {
  const { validFraction = 0.2, seed = 0 } = options;
  if (!(validFraction > 0 && validFraction < 1)) throw new UserError(`A validation share of ${validFraction} leaves one side empty. Choose one between 0 and 1, such as 0.2.`, { exitCode: 2 });
  const folder = await openFolder(root, options.signal);
  const layout = await readLayout(folder, options);
  const { train, valid, skipped } = await checkPictures(folder, layout, options);
  const dataset: Dataset = {
    ...folder,
    classes: layout.classes,
    ...(layout.split === 'folders' ? { train, valid } : splitPictures(train, layout.split, validFraction, seed)),
    split: layout.split,
    skipped,
    otherFiles: layout.otherFiles,
  };
  requireBothSides(dataset);
  return dataset;
}

/**
 * Opens a folder to judge a model by: the validation side where there is one, else every picture. All are in `valid`.
 *
 * @throws {UserError} as `openDataset` does, but a split is not needed
 */
export async function openForJudging(root: string, options: Omit<OpenOptions, 'split' | 'validFraction' | 'seed'> = {}): Promise<Dataset> {
  const folder = await openFolder(root, options.signal);
  const layout = await readLayout(folder, { ...options, split: 'auto' });
  const judged = layout.split === 'folders' ? layout.valid : layout.train;
  const { train: valid, skipped } = await checkPictures(folder, { ...layout, train: judged, valid: [] }, options);
  return { ...folder, classes: layout.classes, train: [], valid, split: layout.split, skipped, otherFiles: layout.otherFiles };
}

/** What lies where, without opening a file. @throws {UserError} as `openDataset` does */
export async function readLayout(folder: PictureFolder, { split = 'auto', signal }: OpenOptions): Promise<Layout> {
  const { root } = folder, tree = treeOf(folder);
  const sides = split === 'auto' || split === 'folders' ? await findSides(tree) : null;
  if (split === 'folders' && !sides) throw new UserError(`${root} has no train and valid folders with class folders in them. Make them, or choose the article or the stratified split.`);
  const train = await readClassFolders(tree, sides?.train ?? '', signal);
  const valid = sides ? await readClassFolders(tree, sides.valid, signal) : [];
  const classes = train.map((folder) => folder.name);
  requireClasses(train, sides ? `${root}/${sides.train}` : root);
  const unknown = valid.find((folder) => !classes.includes(folder.name));
  if (unknown) throw new UserError(`${root}/${sides!.valid}/${unknown.name} is a class that ${sides!.train} lacks. Its classes: ${listed(classes)}. Rename or remove the folder.`);
  const picturesIn = (folders: ClassFolder[], prefix: string): Picture[] =>
    folders.flatMap(({ name, pictures }) => pictures.map((path) => ({ path: prefix + path, label: classes.indexOf(name) })));
  return {
    split: sides ? 'folders' : split === 'stratified' ? split : 'article',
    classes,
    train: picturesIn(train, sides ? `${sides.train}/` : ''),
    valid: picturesIn(valid, sides ? `${sides.valid}/` : ''),
    otherFiles: [...train, ...valid].reduce((sum, folder) => sum + folder.otherFiles, 0),
  };
}

/** The names of the folders for training and validation, where both hold class folders. */
async function findSides(tree: FolderTree): Promise<{ train: string; valid: string } | null> {
  const { folders } = await tree.list('');
  const valid = VALID_NAMES.find((name) => folders.includes(name));
  if (!valid || !folders.includes('train')) return null;
  const inside = await Promise.all(['train', valid].map((name) => tree.list(name)));
  return inside.every((content) => content.folders.length > 0) ? { train: 'train', valid } : null;
}

function requireClasses(folders: ClassFolder[], where: string): void {
  if (folders.length === 0) throw new UserError(`${where} has no class folders. Put the pictures of each class in a folder named after it: ${where}/cat/1.jpg, ${where}/dog/1.jpg.`);
  if (folders.length === 1) throw new UserError(`${where} has one class only (${folders[0]!.name}). A classifier needs two: add a folder with pictures of another class.`);
  const empty = folders.find((folder) => folder.pictures.length === 0);
  if (empty) {
    const others = empty.otherFiles > 0 ? ` (${empty.otherFiles} other ${empty.otherFiles === 1 ? 'file' : 'files'})` : '';
    throw new UserError(`${where}/${empty.name} has no picture${others}. Add JPEG, PNG, WebP, AVIF or GIF files, or remove the folder.`);
  }
}

/** The pictures that can be used, and those that can't. */
async function checkPictures(folder: PictureFolder, { classes, ...layout }: Layout, { skipBadImages = false, signal, onProgress }: OpenOptions): Promise<Pick<Dataset, 'train' | 'valid' | 'skipped'>> {
  const all = [...layout.train, ...layout.valid];
  await using pictures = new PictureReader(folder);
  let done = 0;
  const reasons = await mapBounded(all, CONCURRENCY, async ({ path }) => {
    const reason = await faultOf(pictures, path, skipBadImages, signal);
    onProgress?.(++done, all.length);
    return reason;
  }, signal);
  const bad = new Map(all.flatMap((picture, i) => (reasons[i] == null ? [] : [[picture, reasons[i]]])));
  const train = layout.train.filter((picture) => !bad.has(picture));
  const left = new Set(train.map((picture) => picture.label));
  const empty = classes.find((_, label) => !left.has(label));
  if (empty !== undefined) throw new UserError(`No picture of class ${empty} in ${folder.root} can be used: all were skipped. Mend them, or remove the class.`);
  return { train, valid: layout.valid.filter((picture) => !bad.has(picture)), skipped: Array.from(bad, ([{ path }, reason]) => ({ path, reason })) };
}

/** Why a picture can't be used, or null. @throws {PictureError} instead, unless `skip` */
async function faultOf(pictures: PictureReader, path: string, skip: boolean, signal?: AbortSignal): Promise<string | null> {
  try {
    await validatePicture(await pictures.source(path), { name: path, signal });
    return null;
  } catch (error) {
    if (skip && error instanceof PictureError) return error.problem;
    throw inDataset(error, path);
  }
}

function requireBothSides({ root, split, valid }: Dataset): void {
  if (valid.length > 0) return;
  throw new UserError(split === 'folders' ? `${root} has no picture for validation. Put some into its validation folder.` : `${root} has too few pictures: none would be left for validation. Add pictures, or make the validation share larger.`);
}

/** The first names of a list. */
function listed(names: string[]): string {
  return names.length > 10 ? `${names.slice(0, 10).join(', ')} and ${names.length - 10} more` : names.join(', ');
}
