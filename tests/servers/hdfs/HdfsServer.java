import java.io.File;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.Path;
import org.apache.hadoop.hdfs.MiniDFSCluster;

/** HDFS with one datanode on the loopback interface, until it is killed; /ready when it is. */
public final class HdfsServer {
    /** The arguments: a folder for its data, and the port of WebHDFS. */
    public static void main(String[] arguments) throws Exception {
        Configuration configuration = new Configuration();
        configuration.set("dfs.datanode.hostname", "127.0.0.1");
        // Whoever asks may write.
        configuration.setBoolean("dfs.permissions.enabled", false);
        // A crash of the machine may cost the data of a test.
        configuration.setBoolean("dfs.namenode.edits.noeditlogchannelflush", true);
        MiniDFSCluster cluster = new MiniDFSCluster.Builder(configuration, new File(arguments[0]))
                .numDataNodes(1)
                .nameNodeHttpPort(Integer.parseInt(arguments[1]))
                .build();
        cluster.waitActive();
        cluster.getFileSystem().mkdirs(new Path("/ready"));
        Thread.currentThread().join();
    }
}
