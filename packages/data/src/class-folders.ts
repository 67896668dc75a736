import { readdir, realpath, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { UserError } from '@chameleon/core/errors';
import { hasPictureName } from './picture-type.js';

/** The files of one class, named relative to the folder that was read, with '/' between folders. */
export interface ClassFolder {
  name: string;
  pictures: string[];
  /** Files that are neither hidden nor named as pictures are. */
  otherFiles: number;
}

/** Folders and files by their paths from a root, with '/' between; '' is the root itself. On a disk, or as shards hold them. */
export interface FolderTree {
  /** Visible folders and files, sorted. */
  list(path: string): Promise<{ folders: string[]; files: string[] }>;
  /** The same for two paths that lead to the same folder. */
  identify(path: string): Promise<string>;
}

export const diskTree = (root: string): FolderTree => ({ list: (path) => listFolder(join(root, path)), identify: (path) => realpath(join(root, path)) });

/** The class folders in a folder, and their pictures, both in torchvision's `ImageFolder` order (by UTF-16 code units). */
export async function readClassFolders(tree: FolderTree, folder: string, signal?: AbortSignal): Promise<ClassFolder[]> {
  const { folders } = await tree.list(folder);
  const classes: ClassFolder[] = [];
  for (const name of folders.filter((folderName) => folderName !== '__MACOSX')) {
    const found: ClassFolder = { name, pictures: [], otherFiles: 0 };
    await walk(tree, folder, [name], [], found, signal);
    classes.push(found);
  }
  return classes;
}

/** Visible folders and files, sorted; links count as what they lead to. @throws {UserError} when it is no folder */
async function listFolder(path: string): Promise<{ folders: string[]; files: string[] }> {
  const entries = await readdir(path, { withFileTypes: true }).catch((error: unknown) => {
    throw folderError(error, path);
  });
  const folders: string[] = [], files: string[] = [];
  for (const entry of entries) {
    if (entry.name.startsWith('.')) continue;
    const kind = entry.isSymbolicLink() ? await stat(join(path, entry.name)).catch(() => null) : entry;
    if (kind?.isDirectory()) folders.push(entry.name);
    else files.push(entry.name);
  }
  return { folders: folders.sort(), files: files.sort() };
}

/** A folder's files, then those of the folders in it. Links that lead back to a folder above are passed over. */
async function walk(tree: FolderTree, folder: string, steps: string[], above: string[], found: ClassFolder, signal?: AbortSignal): Promise<void> {
  signal?.throwIfAborted();
  const path = [...(folder === '' ? [] : [folder]), ...steps].join('/');
  const real = await tree.identify(path);
  if (above.includes(real)) return;
  const { folders, files } = await tree.list(path);
  for (const file of files) {
    if (hasPictureName(file)) found.pictures.push([...steps, file].join('/'));
    else found.otherFiles++;
  }
  for (const name of folders) await walk(tree, folder, [...steps, name], [...above, real], found, signal);
}

function folderError(error: unknown, path: string): unknown {
  switch ((error as NodeJS.ErrnoException).code) {
    case 'ENOENT':
      return new UserError(`There is no folder ${path}. Give the folder that holds one folder of pictures for each class.`, { cause: error });
    case 'ENOTDIR':
      return new UserError(`${path} is a file, not a folder. Give the folder that holds one folder of pictures for each class; an archive is unpacked by dataset prepare.`, { cause: error });
    case 'EACCES':
    case 'EPERM':
      return new UserError(`${path} may not be read. Mend its permissions.`, { cause: error });
    default:
      return error;
  }
}
